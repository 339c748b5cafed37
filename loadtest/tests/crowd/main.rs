//! Crowds of virtual users on gateways in this process, over real sockets and media.

mod support;

mod a_crowd_calls_and_hears_itself;
mod a_drain_moves_the_idle_and_keeps_callers;
mod a_foreign_stack_is_a_user_too;
mod a_stopped_instance_waits_for_its_calls;
mod users_of_a_stopped_instance_sign_in_at_the_other;
