//! The SIP side of instances: registrations, calls, takeover, stepped through in a world without a socket or a clock. One
//! behaviour per file.

mod far;
mod gateway;
mod net;
mod tab;
mod world;

mod a_registration_is_a_lease_on_the_socket;
mod an_unanswered_call_ends_for_its_reason;
mod calls_are_made_and_answered;
mod credentials_are_for_one_realm;
mod digits_go_both_ways;
mod either_side_holds;
mod the_far_side_may_do_what_the_standard_lets_it;
mod the_session_timer_runs_on_both_sides;
