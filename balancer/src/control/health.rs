//! The site in one line: what is wrong, the worst first, or that nothing is.

use serde::Serialize;

use crate::control::view::InstanceView;

/// Waiting for a worker for longer than this is worth a word, in milliseconds: people notice it.
const LONG_WAIT_MS: f64 = 1_000.0;
/// Share of failed requests that is worth a word, ...
const SOME_FAIL: f64 = 0.001;
/// ... and shares that are bad, the worst first. Steps, as the line is to change seldom.
const MANY_FAIL: [(f64, &str); 4] = [
    (0.5, "more than half of the requests"),
    (0.2, "more than a fifth of the requests"),
    (0.05, "more than a twentieth of the requests"),
    (0.02, "more than 2 % of the requests"),
];
/// Names told; of more the number is.
const NAMES: usize = 3;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Level {
    Good,
    Warning,
    Bad,
}

/// The site in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Health {
    pub level: Level,
    /// Changes only with what it says, not with every figure: it is read aloud.
    pub text: String,
}

/// What is known of one service besides its instances.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ServiceFacts {
    pub name: String,
    /// For how long the oldest small request has waited.
    pub oldest_small_ms: f64,
    /// Requests that ended in the last minute, and of these those that failed.
    pub ended: u64,
    pub failed: u64,
}

/// Judges the site.
pub(super) fn judge(instances: &[InstanceView], services: &[ServiceFacts]) -> Health {
    let named = services.len() > 1;
    let found = services.iter().flat_map(|service| of_service(instances, service, named));
    let mut found: Vec<_> = found.collect();
    found.extend(of_instances(instances));
    found.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
    let level = found.first().map_or(Level::Good, |(level, _)| *level);
    let mut texts: Vec<_> = found.into_iter().map(|(_, text)| text).collect();
    if level == Level::Good {
        texts.insert(0, all_well(instances));
    }
    Health { level, text: texts.join("; ") }
}

type Finding = (Level, String);

fn all_well(instances: &[InstanceView]) -> String {
    let up = instances.iter().filter(|instance| instance.routed).count();
    match (up, instances.len()) {
        (1, 1) => "The only instance gets requests".to_owned(),
        (up, all) if up == all => format!("All {all} instances get requests"),
        (up, all) => format!("{up} of {all} instances get requests"),
    }
}

/// `named`: there are several services.
fn of_service(instances: &[InstanceView], service: &ServiceFacts, named: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    let ServiceFacts { name, oldest_small_ms, ended, failed } = service;
    let mut tell =
        |level, text: String| found.push((level, if named { format!("{name}: {text}") } else { text }));
    let is_up = |i: &&InstanceView| i.service == *name && i.routed && i.breaker == "closed";
    // One that the configuration names and nobody uses is no fault.
    let is_used = !named || *ended > 0 || instances.iter().any(|instance| instance.service == *name);
    if is_used && !instances.iter().any(|instance| is_up(&instance)) {
        tell(Level::Bad, "no instance is up".to_owned());
    }
    let share = *failed as f64 / (*ended).max(1) as f64;
    if let Some((_, many)) = MANY_FAIL.iter().find(|(least, _)| share >= *least) {
        tell(Level::Bad, format!("{many} failed in the last minute"));
    } else if share >= SOME_FAIL {
        tell(Level::Warning, "a few requests failed in the last minute".to_owned());
    }
    if *oldest_small_ms >= LONG_WAIT_MS {
        tell(Level::Warning, "small requests wait for more than a second for a worker".to_owned());
    }
    found
}

fn of_instances(instances: &[InstanceView]) -> Vec<Finding> {
    let named = |wanted: &dyn Fn(&InstanceView) -> bool| names(instances.iter().filter(|i| wanted(i)));
    let by_operator = |i: &InstanceView| i.operator != "ready";
    let findings = [
        (Level::Bad, named(&|i| i.routed && i.breaker != "closed"), "can not be reached"),
        (Level::Warning, named(&|i| !i.routed && !by_operator(i)), "out of service"),
        (Level::Warning, named(&|i| i.report_age_ms.is_some() && i.knowledge != "fresh"), "reports are late"),
        (Level::Warning, named(&|i| i.slowness > 1.0), "slower than the others"),
        (Level::Good, named(&by_operator), "taken out by the operator"),
    ];
    let told = findings.into_iter().filter_map(|(level, names, what)| Some((level, names?, what)));
    told.map(|(level, names, what)| (level, format!("{names}: {what}"))).collect()
}

/// `None`: there is none.
fn names<'a>(instances: impl Iterator<Item = &'a InstanceView>) -> Option<String> {
    let all: Vec<_> = instances.map(|instance| instance.name.as_str()).collect();
    match all.len() {
        0 => None,
        1..=NAMES => Some(all.join(", ")),
        many => Some(format!("{} and {} more", all[..NAMES].join(", "), many - NAMES)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(name: &str) -> InstanceView {
        let view = serde_json::json!({
            "service": "default", "name": name, "address": "127.0.0.1:1", "source": "agent",
            "state": "ready", "routed": true, "reason": "", "role": "general", "operator": "ready",
            "breaker": "closed", "workers": 1, "limit": 1, "working": 0, "large": 0, "streaming": 0,
            "foreign": 0, "slowness": 1.0, "homes": 0, "release": { "point": "end", "found": "configured" },
            "knowledge": "fresh", "report_age_ms": 300,
        });
        serde_json::from_value(view).expect("a whole view")
    }

    fn service(ended: u64, failed: u64) -> ServiceFacts {
        ServiceFacts { name: "default".into(), oldest_small_ms: 5.0, ended, failed }
    }

    #[test]
    fn the_worst_is_told_first() {
        let with = |change: &dyn Fn(&mut InstanceView)| {
            let mut all = vec![instance("a"), instance("b")];
            change(&mut all[1]);
            all
        };
        let well = service(1000, 0);
        let cases = [
            (with(&|_| ()), well.clone(), Level::Good, "All 2 instances get requests"),
            (
                with(&|i| (i.operator, i.routed) = ("drain".into(), false)),
                well.clone(),
                Level::Good,
                "1 of 2 instances get requests; b: taken out by the operator",
            ),
            (with(&|i| i.routed = false), well.clone(), Level::Warning, "b: out of service"),
            (with(&|i| i.knowledge = "stale".into()), well.clone(), Level::Warning, "b: reports are late"),
            (with(&|i| i.breaker = "open".into()), well.clone(), Level::Bad, "b: can not be reached"),
            (
                with(&|i| i.slowness = 3.0),
                service(1000, 20),
                Level::Bad,
                "more than 2 % of the requests failed in the last minute; b: slower than the others",
            ),
            (vec![], well.clone(), Level::Bad, "no instance is up"),
            (
                with(&|_| ()),
                ServiceFacts { oldest_small_ms: 1500.0, ..well },
                Level::Warning,
                "small requests wait for more than a second for a worker",
            ),
        ];
        for (instances, service, level, text) in cases {
            assert_eq!(judge(&instances, &[service]), Health { level, text: text.into() });
        }
    }

    #[test]
    fn of_several_services_the_name_is_told_and_an_unused_one_is_no_fault() {
        let shop = |ended| ServiceFacts { name: "shop".into(), ..service(ended, 0) };
        let health = judge(&[instance("a")], &[service(1, 0), shop(1)]);
        assert_eq!(health, Health { level: Level::Bad, text: "shop: no instance is up".into() });
        let health = judge(&[instance("a")], &[service(1, 0), shop(0)]);
        assert_eq!(health, Health { level: Level::Good, text: "The only instance gets requests".into() });
    }

    #[test]
    fn no_more_than_a_few_names_are_told() {
        let all: Vec<_> =
            (0..9).map(|n| InstanceView { slowness: 2.0, ..instance(&format!("i{n}")) }).collect();
        let health = judge(&all, &[service(1, 0)]);
        assert_eq!(health.text, "i0, i1, i2 and 6 more: slower than the others");
    }
}
