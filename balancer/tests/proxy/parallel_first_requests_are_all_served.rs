//! A browser opens many connections before it has a cookie; each answer is good, and any of the cookies is.

use crate::support::{
    balancer::Balancer,
    client::{Client, ask, get, sign_in},
    fake::Fake,
};

#[test]
fn whichever_cookie_came_last_places_the_session() {
    let fakes = [Fake::start("a"), Fake::start("b"), Fake::start("c")];
    let balancer = Balancer::start(&fakes);
    let mut clients: Vec<_> = (0..30).map(|_| Client::connect(balancer.http)).collect();
    clients.iter_mut().for_each(|client| client.send(get("/asset", "")));
    for client in &mut clients {
        let page = client.answer().expect("an answer");
        assert_eq!(page.status, 200);
        let signed_in = ask(balancer.http, sign_in(&page.cookie("holdfast"), ""));
        assert_eq!((signed_in.status, signed_in.header("holdfast-pin")), (201, "kept"));
        assert_eq!(signed_in.header("holdfast-instance"), page.header("holdfast-instance"));
    }
    assert!(fakes.iter().all(|fake| fake.sessions() > 0), "they are spread");
}
