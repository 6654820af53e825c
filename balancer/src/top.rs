//! `sluice-balancer top`: a running balancer's instances and classes in the terminal.

use std::fmt::Write;
use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use serde::de::DeserializeOwned;
use sluice_process::RunError;

use crate::control::view::{ClassView, InstanceView};

/// What `top` can be asked.
#[derive(Clone, Debug, Args)]
pub struct TopOptions {
    /// The balancer's admin address
    #[arg(long, value_name = "URL", env = "SLUICE_TOP_ADMIN", default_value = "http://127.0.0.1:9900")]
    admin: String,
    /// Print once and end
    #[arg(long)]
    once: bool,
}

/// How often the screen is drawn.
const EVERY: Duration = Duration::from_secs(1);
/// Classes shown: a screenful.
const CLASSES: usize = 20;

/// Shows until interrupted, or once.
///
/// # Errors
/// If the balancer does not answer.
pub fn main(options: &TopOptions) -> Result<(), RunError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::failed)?;
    runtime.block_on(show(options))
}

async fn show(options: &TopOptions) -> Result<(), RunError> {
    let client =
        reqwest::Client::builder().timeout(Duration::from_secs(5)).build().map_err(RunError::failed)?;
    let admin = options.admin.trim_end_matches('/');
    loop {
        let instances: Vec<InstanceView> = fetch(&client, &format!("{admin}/v1/instances")).await?;
        let classes: Vec<ClassView> = fetch(&client, &format!("{admin}/v1/classes")).await?;
        let screen = screen(&instances, classes);
        if options.once {
            print!("{screen}");
            return Ok(());
        }
        draw(&screen).map_err(RunError::failed)?;
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            interrupted = tokio::signal::ctrl_c() => return interrupted.map_err(RunError::failed),
        }
    }
}

/// Draws over what was there: home, each line, clear the rest. No flicker.
pub(crate) fn draw(screen: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "\x1b[H{}\x1b[J", screen.replace('\n', "\x1b[K\n"))?;
    out.flush()
}

async fn fetch<T: DeserializeOwned>(client: &reqwest::Client, url: &str) -> Result<T, RunError> {
    let response = client.get(url).send().await.and_then(reqwest::Response::error_for_status);
    let response = response
        .map_err(|error| RunError::failed(format!("no answer from the balancer at {url}: {error}")))?;
    response
        .json()
        .await
        .map_err(|error| RunError::failed(format!("{url} is not this release's balancer: {error}")))
}

/// A screenful: instances, and the classes with the most requests.
pub(crate) fn screen(instances: &[InstanceView], mut classes: Vec<ClassView>) -> String {
    let mut out = String::new();
    let routed = instances.iter().filter(|instance| instance.routed).count();
    let _infallible = writeln!(out, "{routed} of {} instances get requests\n", instances.len());
    let _infallible = writeln!(
        out,
        "{:<30} {:<8} {:>7} {:>5} {:>7} {:>8}  why",
        "instance", "role", "workers", "large", "streams", "report"
    );
    for i in instances {
        let age = i.report_age_ms.map_or("-".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1e3));
        let name = format!("{}/{}", i.service, i.name);
        let busy = format!("{}/{}", i.working, i.workers);
        let _infallible = writeln!(
            out,
            "{name:<30} {:<8} {busy:>7} {:>5} {:>7} {age:>8}  {}",
            role(i),
            i.large,
            i.streaming,
            i.reason
        );
    }
    classes.sort_by_key(|class| std::cmp::Reverse(class.seen.requests));
    let _infallible = writeln!(
        out,
        "\n{:<44} {:<7} {:>8} {:>6} {:>9} {:>9} {:>10}",
        "class", "lane", "req/s", "errors", "held p50", "held p99", "size p50"
    );
    for c in classes.iter().take(CLASSES) {
        let ms = |value: Option<f64>| value.map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
        let size = c.seen.response_bytes.p50.map_or("-".to_owned(), |bytes| format!("{bytes:.0} B"));
        let (held, seen) = (&c.seen.held_ms, &c.seen);
        let errors = seen.errors.map_or("-".to_owned(), |errors| errors.to_string());
        let _infallible = writeln!(
            out,
            "{:<44} {:<7} {:>8.1} {:>6} {:>9} {:>9} {:>10}",
            c.class,
            c.lane,
            seen.per_second,
            errors,
            ms(held.p50),
            ms(held.p99),
            size
        );
    }
    out
}

/// What an instance is for, in one word; `slow` where that is known.
fn role(instance: &InstanceView) -> &str {
    if instance.slowness > 1.0 { "slow" } else { &instance.role }
}
