//! The rules of an instance, stepped through without a clock. One behaviour per file.

mod bench;

mod a_capsule_is_renewed_at_half_its_life;
mod a_drain_has_a_pace_and_an_end;
mod a_freeze_judges_nothing_that_it_slept_through;
mod a_request_acts_once;
mod a_silent_socket_is_lost;
mod balance_moves_idle_clients;
mod every_limit_holds;
mod live_media_outlives_the_grace;
mod whatever_happens_the_books_are_right;
