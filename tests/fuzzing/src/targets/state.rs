//! What the programs wrote themselves, and somebody may have damaged: saved knowledge, recorded decisions.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sluice_balancer::decide::ids::ClassId;
use sluice_balancer::decide::schedule::{Named, Scheduler, Settings};
use sluice_balancer::replay::{Continuity, read_bytes, replay as plan_again};
use sluice_balancer::saved::SavedService;
use sluice_proto::{ClassName, ServiceName};

/// A file that is taken does no harm: a scheduler goes on with it, and can save what it knows.
pub fn saved(bytes: &[u8]) {
    let Ok(saved) = SavedService::parse(bytes, &ServiceName::default()) else { return };
    let now = Instant::now();
    let mut classes: HashMap<ClassId, ClassName> = HashMap::new();
    let name = |text: &str| {
        let id = ClassId(u32::try_from(classes.len()).ok()?);
        classes.insert(id, ClassName::parse(text)?);
        Some(id)
    };
    let rng = fastrand::Rng::with_seed(1);
    let mut scheduler = Scheduler::<u32>::restored(now, Settings::default(), rng, saved.learned, name);
    for second in 1..20 {
        scheduler.tick(now + Duration::from_secs(second), second * 1000, Named::default());
    }
    let learned = scheduler.knowledge().state(&classes, &HashMap::new());
    let text = serde_json::to_vec(&SavedService { learned, ..saved }).expect("plain data");
    SavedService::parse(&text, &ServiceName::default()).expect("what the program writes, it reads");
}

/// Decisions can be made again from whatever is read, and the same comes of it twice.
pub fn replay(bytes: &[u8]) {
    let Ok(recorded) = read_bytes(bytes) else { return };
    let again = || plan_again(recorded.clone(), &[], Continuity::Recorded);
    let (Ok(one), Ok(other)) = (again(), again()) else { return };
    for (one, other) in one.iter().zip(&other) {
        assert_eq!(format!("{:?}", one.plan), format!("{:?}", other.plan));
        one.differences();
    }
}
