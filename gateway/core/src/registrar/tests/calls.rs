use super::*;
use crate::sip::SendFailure;

const FAR: &str = "<sip:far@127.0.0.1:4001;transport=tcp;hf-gen=1>;expires=90";

fn with_far() -> World {
    let mut world = World::new();
    world.register("far", tcp(5001), FAR);
    world
}

#[test]
fn a_call_goes_to_the_contact_over_the_flow_of_its_register() {
    let mut world = with_far();
    let (id, out) = world.call(udp(4000), "far");
    assert_eq!(out.statuses(), [100]);
    let (client, peer, invite) = out.only_request();
    assert_eq!((peer, invite.uri.as_str()), (tcp(5001), "sip:far@127.0.0.1:4001;transport=tcp;hf-gen=1"));
    assert_eq!((invite.headers.get("Max-Forwards"), invite.headers.all("Via").count()), (Some("69"), 2));
    let out = world.answer(client, invite, 180);
    assert_eq!(out.responses[0].0, id);
    assert_eq!(
        out.responses[0].1.headers.all("Via").collect::<Vec<_>>(),
        ["SIP/2.0/TCP 127.0.0.1:4000;branch=z9hG4bKnear"]
    );
    assert_eq!(world.answer(client, invite, 200).statuses(), [200]);
    assert_eq!(world.answer(client, invite, 200).statuses(), [200], "one that comes again goes up again");
    world.pass(Duration::from_secs(60));
    assert_eq!(world.registrar.counts().relays, 0);
}

#[test]
fn each_side_comes_back_over_its_own_transport() {
    let mut world = with_far();
    let (_, out) = world.call(tcp(4000), "far");
    let (_, _, invite) = out.only_request();
    assert_eq!(invite.headers.all("Record-Route").collect::<Vec<_>>(), ["<sip:127.0.0.1:5060;transport=tcp;lr>"]);
    world.register("far", udp(5001), "<sip:far@127.0.0.1:5001>;expires=90");
    let mut other = request(Method::Invite, "sip:far@example.org");
    other.headers.set("Call-ID", "other");
    let (_, out) = world.send(tcp(4000), other);
    let invite = &out.requests.iter().find(|(_, peer, _)| *peer == udp(5001)).expect("a branch over UDP").2;
    let routes = ["<sip:127.0.0.1:5060;transport=udp;lr>", "<sip:127.0.0.1:5060;transport=tcp;lr>"];
    assert_eq!(invite.headers.all("Record-Route").collect::<Vec<_>>(), routes);
}

#[test]
fn requests_of_a_dialog_follow_route_and_contact() {
    let mut world = with_far();
    let mut bye = in_dialog(Method::Bye, "sip:far@127.0.0.1:4001;transport=tcp;hf-gen=1", 2);
    bye.headers.push("Route", "<sip:192.0.2.1:5080;lr>");
    assert_eq!(world.send(tcp(4000), bye.clone()).1.statuses(), [403], "neither end is a user");
    let (_, out) = world.send(tcp(5001), bye);
    let (_, peer, bye) = out.only_request();
    assert_eq!(peer.addr.to_string(), "192.0.2.1:5080", "the next Route");
    assert_eq!(bye.headers.all("Route").collect::<Vec<_>>(), ["<sip:192.0.2.1:5080;lr>"]);
    for (uri, peer) in [
        ("sip:far@127.0.0.1:4001;transport=tcp;hf-gen=1", tcp(5001)),
        ("sip:far@127.0.0.1:4001;transport=tcp;hf-gen=0", tcp(5001)),
        (
            "sip:other@192.0.2.7:5090;transport=tcp",
            Peer { addr: "192.0.2.7:5090".parse().expect("an address"), ..tcp(0) },
        ),
    ] {
        let (_, out) = world.send(tcp(5001), in_dialog(Method::Info, uri, 3));
        assert_eq!(out.only_request().1, peer, "{uri}");
    }
    let (_, out) = world.send(tcp(4000), in_dialog(Method::Info, "sip:far@127.0.0.1:4001;transport=tcp;hf-gen=1", 3));
    assert_eq!(out.only_request().1, tcp(5001), "of a caller who is not registered");
    assert_eq!(world.send(tcp(4000), in_dialog(Method::Bye, "sip:x@host.invalid", 4)).1.statuses(), [404]);
}

#[test]
fn the_ack_to_a_2xx_is_passed_on_without_a_transaction() {
    let mut world = with_far();
    let request = in_dialog(Method::Ack, "sip:far@127.0.0.1:4001;transport=tcp;hf-gen=1", 1);
    let out = world.tell(SipEvent::Acked { transaction: ServerTransaction(1), request });
    let [(peer, ack)] = out.sent.as_slice() else { panic!("one ACK: {out:?}") };
    assert_eq!((*peer, ack.headers.all("Via").count(), ack.headers.get("Route")), (tcp(5001), 2, None));
}

#[test]
fn the_first_to_answer_wins_and_the_others_are_cancelled() {
    let mut world = with_far();
    world.register("far", tcp(5002), "<sip:far@127.0.0.1:4002>;expires=90");
    world.register("far", tcp(5003), "<sip:far@127.0.0.1:4003>;expires=90");
    let (_, out) = world.call(tcp(4000), "far");
    let branches = out.requests.clone();
    assert_eq!(branches.len(), 3);
    assert_eq!(world.answer(branches[0].0, &branches[0].2, 486).statuses(), [] as [u16; 0], "others may still answer");
    let out = world.answer(branches[1].0, &branches[1].2, 200);
    assert_eq!((out.statuses(), out.cancels), (vec![200], vec![branches[2].0]));
    assert_eq!(world.answer(branches[2].0, &branches[2].2, 487).statuses(), [] as [u16; 0]);
}

#[test]
fn the_best_refusal_goes_up() {
    for (statuses, best) in
        [([486, 404], 404), ([486, 302], 302), ([503, 603], 603), ([404, 407], 407), ([482, 503], 503)]
    {
        let mut world = with_far();
        world.register("far", tcp(5002), "<sip:far@127.0.0.1:4002>;expires=90");
        let (_, out) = world.call(tcp(4000), "far");
        let branches = out.requests.clone();
        world.answer(branches[0].0, &branches[0].2, statuses[0]);
        assert_eq!(world.answer(branches[1].0, &branches[1].2, statuses[1]).statuses(), [best], "{statuses:?}");
        assert_eq!(world.registrar.counts().relays, 0);
    }
}

#[test]
fn cancel_goes_to_every_branch() {
    let mut world = with_far();
    world.register("far", tcp(5002), "<sip:far@127.0.0.1:4002>;expires=90");
    let (id, out) = world.call(tcp(4000), "far");
    let branches = out.requests.clone();
    let out = world.tell(SipEvent::Cancelled(id));
    assert_eq!(out.cancels, branches.iter().map(|(client, ..)| *client).collect::<Vec<_>>());
    world.answer(branches[0].0, &branches[0].2, 487);
    assert_eq!(world.answer(branches[1].0, &branches[1].2, 487).statuses(), [487]);
}

#[test]
fn other_requests_are_passed_on_too() {
    for method in [Method::Refer, Method::Notify, Method::Info, Method::Message, Method::Options, Method::Update] {
        let mut world = with_far();
        let (_, out) = world.send(tcp(4000), request(method.clone(), "sip:far@example.org"));
        let (client, _, passed) = out.only_request();
        assert_eq!(out.statuses(), [] as [u16; 0], "100 is for INVITE alone");
        assert_eq!(world.answer(client, passed, 202).statuses(), [202], "{method}");
        assert_eq!(world.registrar.counts().relays, 0);
    }
    let mut world = World::new();
    assert_eq!(world.send(tcp(4000), request(Method::Options, "sip:example.org")).1.statuses(), [200]);
    assert_eq!(world.send(tcp(4000), request(Method::Message, "sip:nobody@example.org")).1.statuses(), [404]);
    assert_eq!(world.send(tcp(4000), request(Method::Message, "sip:far@elsewhere.example")).1.statuses(), [404]);
}

#[test]
fn hops_end_and_the_incomplete_is_refused() {
    let mut world = with_far();
    for (field, value, status) in
        [("Max-Forwards", "0", 483), ("Max-Forwards", "x", 400), ("Proxy-Require", "magic", 420)]
    {
        let mut request = request(Method::Invite, "sip:far@example.org");
        request.headers.set(field, value);
        assert_eq!(world.send(tcp(4000), request).1.statuses(), [status], "{field}: {value}");
    }
    let mut request = request(Method::Invite, "sip:far@example.org");
    request.headers.remove("CSeq");
    assert_eq!(world.send(tcp(4000), request).1.statuses(), [400]);
}

#[test]
fn a_lower_number_within_a_dialog_is_refused() {
    let mut world = with_far();
    let uri = "sip:far@127.0.0.1:4001;transport=tcp;hf-gen=1";
    assert_eq!(world.send(tcp(4000), in_dialog(Method::Invite, uri, 1_000)).1.statuses(), [100]);
    let late = world.send(tcp(4009), in_dialog(Method::Bye, uri, 2)).1;
    assert_eq!((late.statuses(), late.requests.len()), (vec![500], 0));
    world.send(tcp(4000), in_dialog(Method::Bye, uri, 1_001)).1.only_request();
    let mut other_side = in_dialog(Method::Bye, uri, 2);
    other_side.headers.set("From", "<sip:far@example.org>;tag=far1");
    world.send(tcp(4000), other_side).1.only_request();
    assert_eq!(world.registrar.counts().fenced, 1);
}

#[test]
fn a_contact_that_says_nothing_is_given_up() {
    let mut world = with_far();
    world.call(tcp(4000), "far");
    assert_eq!(world.pass(HOLD).statuses(), [480]);
    let (_, out) = world.send(tcp(4000), request(Method::Message, "sip:far@example.org"));
    let (transaction, ..) = out.only_request();
    let out = world.tell(SipEvent::Failed { transaction, why: SendFailure::TimedOut });
    assert_eq!(out.statuses(), [480]);
}
