//! The SIP side of instances: registrations, calls, takeover, stepped through in a world without a socket or a clock. One
//! behaviour per file.

mod far;
mod gateway;
mod net;
mod tab;
mod world;

mod a_call_waits_a_moment_for_the_browser;
mod a_capsule_goes_before_what_it_describes;
mod a_dead_instances_calls_are_taken_over;
mod a_redirection_is_followed_within_the_allow_list;
mod a_registration_is_a_lease_on_the_socket;
mod a_second_server_is_warm;
mod a_server_that_moved_is_found;
mod a_thawed_instance_says_nothing_unproven;
mod a_trusted_address_speaks_for_the_server;
mod an_unanswered_call_ends_for_its_reason;
mod bad_input_goes_nowhere;
mod browsers_call_one_another_through_the_registrar;
mod calls_are_made_and_answered;
mod calls_live_on_without_a_sip_server;
mod credentials_are_for_one_realm;
mod digits_go_both_ways;
mod either_side_holds;
mod our_user_transfers;
mod the_far_side_may_do_what_the_standard_lets_it;
mod the_far_side_transfers;
mod the_session_timer_runs_on_both_sides;
mod whatever_happens_the_books_are_right;
