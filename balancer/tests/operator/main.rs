//! The balancer's process as an operator meets it: its flags, its admin listener, and its judgement of instances.

mod a_change_needs_its_header_host_and_token;
mod a_container_can_ask_for_health;
mod a_frozen_balancer_cuts_nobody_when_it_thaws;
mod a_killed_instance_is_down_at_once;
mod a_wrong_start_ends_with_one_line;
mod drain_and_maintenance_reach_the_instance;
mod frozen_instances_are_judged_one_at_a_time;
mod instances_are_found_by_name;
mod load_comes_back_to_a_returned_instance;
mod metrics_tell_what_happened;
mod readiness_says_why_not;

mod process;
#[path = "../proxy/support/mod.rs"]
#[allow(dead_code, reason = "the tests of the data path use the rest")]
mod support;
