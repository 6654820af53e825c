//! Pages of metrics are Prometheus' text format, strictly.

use super::*;

#[tokio::test]
async fn metrics_pages_are_well_formed() {
    let instance = Answering::named("a").await;
    let site = Site::start(Chain::Agent, instance.address(), Settings::default()).await;
    for path in ["/", "/a%22b", "/quote\"d", "/x/17"] {
        ask(site.address(), get(path)).await;
    }
    site.until_idle().await;
    let agent = site.agent.as_ref().expect("a chain with an agent").admin;
    for (admin, wanted) in
        [(site.balancer.admin, "sluice_requests_total"), (agent, "sluice_agent_requests_total")]
    {
        let page = admin::get(admin, "/metrics").await;
        assert!(page.head.get("content-type").is_some_and(|t| t.starts_with("text/plain; version=0.0.4")));
        let families = well_formed(&page.text());
        assert!(families.contains(wanted), "{families:?}");
    }
}

/// The families of a page; panics at the first line that is not as it should be.
fn well_formed(page: &str) -> HashSet<String> {
    assert!(page.ends_with('\n'));
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let mut families = HashSet::new();
    let mut helped = HashSet::new();
    let mut series = HashSet::new();
    let mut family = String::new();
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("a help text");
            assert!(is_name(name) && !text.is_empty() && helped.insert(name.to_owned()), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(kind != "counter" || name.ends_with("_total"), "{line}");
            assert!(helped.contains(name) && families.insert(name.to_owned()), "{line}");
            family = name.to_owned();
        } else {
            let (id, value) = line.rsplit_once(' ').expect("a sample");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let (name, labels) = id
                .split_once('{')
                .map_or((id, ""), |(name, labels)| (name, labels.strip_suffix('}').expect("labels end")));
            let suffix = name.strip_prefix(&family).expect("a sample of the family above");
            assert!(["", "_bucket", "_sum", "_count"].contains(&suffix), "{line}");
            assert!(series.insert(id.to_owned()), "twice: {line}");
            assert!(labels.is_empty() || are_labels(labels, is_name), "{line}");
        }
    }
    families
}

/// `name="value"`, separated by commas; in values, `\`, `"` and line feeds are escaped.
fn are_labels(mut rest: &str, is_name: impl Fn(&str) -> bool) -> bool {
    loop {
        let Some((name, value)) = rest.split_once("=\"") else { return false };
        if !is_name(name) {
            return false;
        }
        let mut escaped = false;
        let end = value.char_indices().find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let Some((end, _)) = end else { return false };
        match value[end + 1..].strip_prefix(',') {
            Some(more) => rest = more,
            None => return value.len() == end + 1,
        }
    }
}
