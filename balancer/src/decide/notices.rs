//! What was learned and is worth an event: told when it changes, and not too often.

pub mod overload;

use std::collections::{HashMap, HashSet};

use sluice_proto::{ClassName, InstanceName};

use crate::decide::learn::affinity::Worth;
use overload::{LanePressure, Overload};

/// Classes that changed their lane of which is told at once at most, ...
const MOST_CLASSES: u32 = 10;
/// ... and looks after which one more may be: ten a minute in the long run.
const LOOKS_PER_CLASS: u32 = 6;

/// What is known of one service now.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    /// Every instance: by what factor it is slower than its fellows, 1 if it is not.
    pub slowness: Vec<(InstanceName, f64)>,
    /// Those of them that get no requests because they fail, and why.
    pub ejected: Vec<(InstanceName, String)>,
    pub classes: Vec<LearnedClass>,
    pub homes: Worth,
    /// 0: not enough to act upon.
    pub interference: f64,
    pub lanes: Vec<LanePressure>,
}

/// A class of which something is known.
#[derive(Clone, Debug)]
pub struct LearnedClass {
    pub name: ClassName,
    pub is_large: bool,
    /// Why it is in its lane and where it goes, in words.
    pub goes: String,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub kind: &'static str,
    /// `None`: it concerns the service.
    pub instance: Option<InstanceName>,
    pub text: String,
}

/// What was told of one service.
#[derive(Clone, Debug)]
pub struct Notices {
    slow: HashMap<InstanceName, f64>,
    ejected: HashSet<InstanceName>,
    large: HashSet<ClassName>,
    home_pays: bool,
    interferes: bool,
    overload: Overload,
    /// Classes that may still be told of, in units of looks.
    budget: u32,
    /// Classes that changed and were not told of.
    untold: u32,
}

impl Default for Notices {
    fn default() -> Self {
        Self {
            slow: HashMap::new(),
            ejected: HashSet::new(),
            large: HashSet::new(),
            home_pays: false,
            interferes: false,
            overload: Overload::default(),
            budget: MOST_CLASSES * LOOKS_PER_CLASS,
            untold: 0,
        }
    }
}

impl Notices {
    /// Compares with what was told; to be called once a second.
    pub fn look(&mut self, learned: Learned) -> Vec<Notice> {
        let mut told = Vec::new();
        self.instances(learned.slowness, &mut told);
        self.ejected(learned.ejected, &mut told);
        self.classes(learned.classes, &mut told);
        self.homes(learned.homes, &mut told);
        self.interference(learned.interference, &mut told);
        told.extend(self.overload.look(&learned.lanes));
        told
    }

    fn instances(&mut self, slowness: Vec<(InstanceName, f64)>, told: &mut Vec<Notice>) {
        let mut slow = HashMap::new();
        for (name, factor) in slowness {
            let before = self.slow.get(&name);
            let notice = |kind, text| Notice { kind, instance: Some(name.clone()), text };
            if factor > 1.0 && before.is_none() {
                let text = format!("{factor:.1} times slower than the others: used when they are busy");
                told.push(notice("instance-slow", text));
            } else if factor <= 1.0 && before.is_some() {
                told.push(notice("instance-recovered", "no slower than the others any more".to_owned()));
            }
            if factor > 1.0 {
                slow.insert(name, factor);
            }
        }
        self.slow = slow;
    }

    fn ejected(&mut self, ejected: Vec<(InstanceName, String)>, told: &mut Vec<Notice>) {
        let now: HashSet<_> = ejected.iter().map(|(name, _)| name.clone()).collect();
        for (name, cause) in ejected {
            if !self.ejected.contains(&name) {
                let text = format!("left out for a while: {cause}");
                told.push(Notice { kind: "instance-ejected", instance: Some(name), text });
            }
        }
        for name in self.ejected.difference(&now).cloned() {
            let text = "gets requests again".to_owned();
            told.push(Notice { kind: "instance-reinstated", instance: Some(name), text });
        }
        self.ejected = now;
    }

    fn classes(&mut self, classes: Vec<LearnedClass>, told: &mut Vec<Notice>) {
        self.budget = (self.budget + 1).min(MOST_CLASSES * LOOKS_PER_CLASS);
        let mut large = HashSet::new();
        for class in classes {
            if class.is_large != self.large.contains(&class.name) {
                self.class(&class, told);
            }
            if class.is_large {
                large.insert(class.name);
            }
        }
        self.large = large;
    }

    fn class(&mut self, class: &LearnedClass, told: &mut Vec<Notice>) {
        let Some(left) = self.budget.checked_sub(LOOKS_PER_CLASS) else {
            self.untold = self.untold.saturating_add(1);
            return;
        };
        self.budget = left;
        let untold = match std::mem::take(&mut self.untold) {
            0 => String::new(),
            n => format!(" (and {n} other classes changed)"),
        };
        let kind = if class.is_large { "class-large" } else { "class-small" };
        let text = format!("{} is now {}{untold}", class.name.as_str(), class.goes);
        told.push(Notice { kind, instance: None, text });
    }

    fn homes(&mut self, worth: Worth, told: &mut Vec<Notice>) {
        let pays = matches!(worth, Worth::Pays { .. });
        if pays != self.home_pays {
            let text = if pays {
                format!("classes are kept at their homes: {}", worth.words())
            } else {
                "classes are not kept at their homes any more".to_owned()
            };
            told.push(Notice { kind: "homes", instance: None, text });
        }
        self.home_pays = pays;
    }

    fn interference(&mut self, share: f64, told: &mut Vec<Notice>) {
        let interferes = share > 0.0;
        if interferes != self.interferes {
            let text = if interferes {
                format!(
                    "a large request slows each small one beside it by {:.0} %: they are kept apart",
                    share * 100.0
                )
            } else {
                "large requests do not slow small ones beside them any more".to_owned()
            };
            told.push(Notice { kind: "interference", instance: None, text });
        }
        self.interferes = interferes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn class(name: &str, is_large: bool) -> LearnedClass {
        let goes = if is_large { "large: 1.5 s is 80 ms or more" } else { "small: 10 ms is less than 80 ms" };
        LearnedClass { name: ClassName::parse(name).expect("valid"), is_large, goes: goes.to_owned() }
    }

    fn texts(told: &[Notice]) -> Vec<(&'static str, &str)> {
        told.iter().map(|notice| (notice.kind, notice.text.as_str())).collect()
    }

    #[test]
    fn each_change_is_told_once() {
        let mut notices = Notices::default();
        let calm = Learned {
            slowness: vec![("a".parse().expect("a name"), 1.0)],
            classes: vec![class("GET /x", false)],
            ..Learned::default()
        };
        assert_eq!(notices.look(calm.clone()), [], "small and fast is what is expected");
        let ms = Duration::from_millis;
        let upset = Learned {
            slowness: vec![("a".parse().expect("a name"), 4.96)],
            ejected: vec![("a".parse().expect("a name"), "it failed 5 requests in a row".to_owned())],
            classes: vec![class("GET /x", true)],
            homes: Worth::Pays { home: ms(10), away: ms(40) },
            interference: 0.5,
            lanes: vec![],
        };
        let told = notices.look(upset.clone());
        assert_eq!(
            texts(&told),
            [
                ("instance-slow", "5.0 times slower than the others: used when they are busy"),
                ("instance-ejected", "left out for a while: it failed 5 requests in a row"),
                ("class-large", "GET /x is now large: 1.5 s is 80 ms or more"),
                (
                    "homes",
                    "classes are kept at their homes: a request holds a worker for 10 ms at home and for 40 ms elsewhere"
                ),
                (
                    "interference",
                    "a large request slows each small one beside it by 50 %: they are kept apart"
                ),
            ]
        );
        assert_eq!(notices.look(upset), []);
        let kinds: Vec<_> = notices.look(calm).iter().map(|notice| notice.kind).collect();
        assert_eq!(
            kinds,
            ["instance-recovered", "instance-reinstated", "class-small", "homes", "interference"]
        );
    }

    #[test]
    fn classes_that_come_and_go_do_not_flood_the_log() {
        let mut notices = Notices::default();
        let mut told = 0;
        for second in 0..600 {
            let classes = (0..50).map(|i| class(&format!("GET /{i}"), second % 2 == 0)).collect();
            told += notices.look(Learned { classes, ..Learned::default() }).len();
        }
        assert!((100..=111).contains(&told), "ten at once, then ten a minute: {told}");
    }
}
