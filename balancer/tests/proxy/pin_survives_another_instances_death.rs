//! Nobody moves because of somebody else's instance.

use crate::support::{
    balancer::Balancer,
    client::{ask, get},
    eventually,
    fake::Fake,
};

#[test]
fn a_browser_stays_where_it_is_while_others_move() {
    let mut fakes = [Fake::start("a"), Fake::start("b")];
    let balancer = Balancer::start(&fakes);
    let pins: Vec<_> = (0..20).map(|_| ask(balancer.http, get("/", ""))).collect();
    fakes[0].kill();
    for page in &pins {
        let again = ask(balancer.http, get("/", &page.cookie("holdfast")));
        assert_eq!((again.status, again.header("holdfast-instance")), (200, "b"));
        let told = if page.header("holdfast-instance") == "b" { "kept" } else { "moved; reason=gone" };
        assert_eq!(again.header("holdfast-pin"), told);
    }
    eventually("the death is known", || balancer.alive() == 1);
}
