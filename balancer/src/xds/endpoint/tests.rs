use super::*;

fn standing(name: &str, role: Role) -> Standing {
    Standing {
        name: name.to_owned(),
        address: SocketAddr::from(([10, 0, 0, 1], 8080)),
        version: None,
        role,
        workers: 4,
        slowness: 1.0,
        operator: Word::Ready,
        agent: Some((State::Ready, Knowledge::Fresh)),
        reachable: true,
        withheld: false,
    }
}

fn general() -> Standing {
    standing("a", Role::General)
}

fn told(standing: Standing) -> (HealthStatus, Serves, u32) {
    let told = tell(&[standing], 1.0, &[]).remove(0);
    (told.health, told.serves, told.weight)
}

#[test]
fn health_is_what_the_pool_knows() {
    let agent = |state, knowledge| Some((state, knowledge));
    for (case, standing, health, serves) in [
        ("up", general(), HealthStatus::Healthy, Serves::Mixed),
        ("no agent", Standing { agent: None, ..general() }, HealthStatus::Healthy, Serves::Mixed),
        (
            "its agent fell silent: it may still serve",
            Standing { agent: agent(State::Ready, Knowledge::Stale), ..general() },
            HealthStatus::Degraded,
            Serves::Mixed,
        ),
        (
            "another version is served: only if there is nobody else",
            Standing { withheld: true, ..general() },
            HealthStatus::Degraded,
            Serves::Mixed,
        ),
        (
            "it leaves",
            Standing { agent: agent(State::Draining, Knowledge::Fresh), ..general() },
            HealthStatus::Draining,
            Serves::Out,
        ),
        ("drained", Standing { operator: Word::Drain, ..general() }, HealthStatus::Draining, Serves::Out),
        (
            "in maintenance",
            Standing { operator: Word::Maintenance, ..general() },
            HealthStatus::Draining,
            Serves::Out,
        ),
        (
            "down, and nobody has heard of it since",
            Standing { agent: agent(State::Down, Knowledge::Unknown), ..general() },
            HealthStatus::Unhealthy,
            Serves::Out,
        ),
        ("no connection", Standing { reachable: false, ..general() }, HealthStatus::Unhealthy, Serves::Out),
    ] {
        let (got_health, got_serves, _) = told(standing);
        assert_eq!((got_health, got_serves), (health, serves), "{case}");
    }
}

#[test]
fn roles_are_apart_only_while_some_instance_is_dedicated_and_up() {
    let serves = |all: &[Standing]| tell(all, 1.0, &[]).iter().map(|told| told.serves).collect::<Vec<_>>();
    let large = standing("b", Role::Large);
    assert_eq!(serves(&[general()]), [Serves::Mixed]);
    assert_eq!(serves(&[large.clone(), general()]), [Serves::Small, Serves::Large], "by name");
    let down = Standing { agent: Some((State::Down, Knowledge::Fresh)), ..large };
    assert_eq!(serves(&[general(), down]), [Serves::Mixed, Serves::Out]);
}

#[test]
fn few_large_requests_are_no_reason_to_set_an_instance_apart() {
    let all = [general(), standing("b", Role::Large)];
    let mut now = Vec::new();
    let mut is_apart = |load| {
        now = tell(&all, load, &now);
        now[1].serves == Serves::Large
    };
    let apart = [0.0, 0.09, 0.1, 0.03, 0.02, 0.01, 0.05, 0.5].map(&mut is_apart);
    assert_eq!(apart, [false, false, true, true, true, false, false, true]);
}

#[test]
fn weights_are_workers_by_speed_and_move_only_by_more_than_a_twentieth() {
    let weight = |workers, slowness, last: Option<u32>| {
        let mut before = tell(&[general()], 1.0, &[]);
        before[0].weight = last.unwrap_or(1);
        let standing = Standing { workers, slowness, ..general() };
        tell(&[standing], 1.0, if last.is_some() { &before } else { &[] })[0].weight
    };
    assert_eq!(weight(4, 1.0, None), 400);
    assert_eq!(weight(4, 2.0, None), 200);
    assert_eq!(weight(0, 1000.0, None), 1, "never none");
    assert_eq!(weight(u32::MAX, 1.0, None), 400_000, "ten thousand of them are still 32 bits");
    assert_eq!(weight(4, 2.1, Some(200)), 200, "190 is within a twentieth");
    assert_eq!(weight(4, 2.2, Some(200)), 182);
    assert_eq!(weight(4, 1.0, Some(200)), 400);
}

#[test]
fn if_nobody_is_known_any_more_the_last_ones_are_kept() {
    let all = tell(&[general(), standing("b", Role::Large)], 1.0, &[]);
    assert_eq!(tell(&[], 1.0, &all), all);
    assert_eq!(tell(&[general()], 1.0, &all).len(), 1, "one that is gone is gone");
    assert_eq!(tell(&[], 1.0, &[]), []);
}
