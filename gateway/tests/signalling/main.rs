//! A running gateway in this process, spoken to over real HTTP and WebSocket. One behaviour per file.

mod support;

mod a_browser_page_needs_its_origin_on_the_list;
mod a_call_to_the_echo_is_answered;
mod a_capsule_signs_in_elsewhere;
mod a_drain_moves_idle_clients;
mod a_newer_attach_supersedes;
mod a_process_leaves_in_good_order;
mod a_repeated_sign_in_reserves_one_place;
mod a_session_is_found_or_its_end_is_told;
mod balance_lets_idle_clients_go;
mod health_tells_the_load;
mod sign_in_is_refused_with_a_reason;
mod the_page_is_served;
