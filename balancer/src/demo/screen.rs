//! What the demo shows while it runs.

use std::fmt::Write;
use std::io;

use sluice_emulation::load::ClassProgress;

use crate::control::view;
use crate::demo::site::Site;
use crate::top;

/// Where everything is.
pub(super) fn addresses(site: &Site) -> String {
    let mut out =
        String::from("Sluice demo: emulated instances with real agents, a balancer, mixed traffic\n\n");
    let balancer = &site.balancer;
    let _infallible = writeln!(out, "  site       http://{}/", balancer.listen[0]);
    let _infallible = writeln!(out, "  dashboard  http://{}/", balancer.admin);
    let _infallible = writeln!(out, "  metrics    http://{}/metrics", balancer.admin);
    for agent in &site.agents {
        let _infallible = writeln!(out, "  agent      http://{}/v1/status", agent.admin_addr());
    }
    out
}

/// Draws the screen, or prints a line where there is none.
pub(super) fn show(site: &Site, progress: &[ClassProgress], has_screen: bool) -> io::Result<()> {
    if !has_screen {
        println!("{}", line(progress));
        return Ok(());
    }
    let state = &site.balancer.state;
    let seen = top::Site {
        instances: view::instances(state),
        classes: view::classes(state),
        plan: state.plan().as_ref().clone(),
    };
    let balancer = top::screen(&seen);
    top::draw(&format!("{}\n{}\n{balancer}", addresses(site), table(progress)))
}

/// All classes in one line.
pub(super) fn line(progress: &[ClassProgress]) -> String {
    let sum = |count: fn(&ClassProgress) -> u64| progress.iter().map(count).sum::<u64>();
    let p99 = |class: &ClassProgress| class.p99_ms.map(|ms| format!("{} p99 {ms:.0} ms", class.name));
    let latencies: Vec<_> = progress.iter().filter_map(p99).collect();
    let (answered, failed, in_flight) =
        (sum(|c| c.answered), sum(|c| c.failed + c.not_sent), sum(|c| c.in_flight));
    format!("{answered} answered, {failed} failed, {in_flight} under way; {}", latencies.join(", "))
}

fn table(progress: &[ClassProgress]) -> String {
    let mut out = format!(
        "{:<12} {:>8} {:>9} {:>7} {:>9} {:>10} {:>10}\n",
        "traffic", "sent", "answered", "failed", "in flight", "p50", "p99"
    );
    for c in progress {
        let ms = |value: Option<f64>| value.map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
        let _infallible = writeln!(
            out,
            "{:<12} {:>8} {:>9} {:>7} {:>9} {:>10} {:>10}",
            c.name,
            c.sent,
            c.answered,
            c.failed + c.not_sent,
            c.in_flight,
            ms(c.p50_ms),
            ms(c.p99_ms)
        );
    }
    out
}
