use super::*;
use crate::classify::{Origin, classify};
use crate::{Kind, Templates};

fn rule(name: &str) -> RuleSpec {
    RuleSpec { name: name.to_owned(), ..RuleSpec::default() }
}

fn header(name: &str, value: Option<&str>) -> Option<HeaderSpec> {
    Some(HeaderSpec { name: name.to_owned(), value: value.map(str::to_owned) })
}

#[test]
fn the_first_rule_of_which_everything_matches_names_the_class() {
    let rules = Rules::compile(vec![
        RuleSpec { hosts: vec!["*.intra.example".into()], ..rule("intra") },
        RuleSpec { path: Some(r"^/report/(?P<year>\d{4})/(?P<part>.+)".into()), ..rule("report") },
        RuleSpec { path: Some(r"^/report/(\d+)$".into()), ..rule("unnamed") },
        RuleSpec {
            methods: vec!["POST".into(), "PUT".into()],
            path: Some("^/api/".into()),
            ..rule("writes")
        },
        RuleSpec { header: header("X-Batch", None), ..rule("batch") },
        RuleSpec { header: header("Accept", Some("pdf$")), ..rule("pdf") },
        RuleSpec { path: Some("^/members".into()), learned: true, ..rule("members") },
    ])
    .expect("valid rules");
    let no_fields: &[(&str, &str)] = &[];
    for (method, host, path, fields, kind, class) in [
        ("GET", "A.Intra.Example:80", "/x", no_fields, Kind::Whole, "intra"),
        ("GET", "intra.example", "/x", no_fields, Kind::Whole, "GET /x"),
        ("GET", "h", "/report/2024/a b/[c]", no_fields, Kind::Whole, "report year=2024 part=a~b/[c]"),
        ("GET", "h", "/report/2024/q1?x=1", no_fields, Kind::Range, "report year=2024 part=q1 [range]"),
        ("GET", "h", "/report/2024", no_fields, Kind::Conditional, "unnamed [conditional]"),
        ("HEAD", "h", "/report/2024", no_fields, Kind::Head, "unnamed [head]"),
        ("PUT", "h", "/api/x", no_fields, Kind::Whole, "writes"),
        ("GET", "h", "/api/x", no_fields, Kind::Whole, "GET /api/x"),
        ("GET", "h", "/x", &[("x-batch", "")], Kind::Whole, "batch"),
        ("GET", "h", "/x", &[("accept", "application/pdf")], Kind::Whole, "pdf"),
        ("GET", "h", "/x", &[("accept", "application/pdf, */*")], Kind::Whole, "GET /x"),
        ("GET", "h", "/members/17/x", no_fields, Kind::Range, "members GET /members/{n}/x [range]"),
    ] {
        let field = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let request = Request { method, host, path, kind, field: &field };
        let mut name = String::new();
        let origin = classify(&request, &rules, &Templates::default(), &mut name);
        assert_eq!(name, class, "{method} {host} {path} {fields:?}");
        let index = rules.of_class(&ClassName::parse(&name).expect("valid"));
        assert_eq!(origin, index.map_or(Origin::Path, Origin::Rule), "the name tells the rule: {name}");
    }
}

#[test]
fn a_rule_that_cannot_be_used_is_named_with_what_is_accepted() {
    let long = "x".repeat(600);
    for (spec, field, parts) in [
        (rule(""), "name", "1 to 64"),
        (rule("a b"), "name", "A-Z"),
        (rule("GET"), "name", "small letter"),
        (rule("other"), "name", "other"),
        (RuleSpec { hosts: vec!["a b".into()], ..rule("r") }, "hosts", "host name"),
        (RuleSpec { methods: vec!["get".into()], ..rule("r") }, "methods", "capitals"),
        (RuleSpec { methods: vec!["GET".into(); 17], ..rule("r") }, "methods", "at most 16"),
        (RuleSpec { path: Some("(".into()), ..rule("r") }, "path", "unclosed group"),
        (RuleSpec { path: Some(r"\w{900}{900}".into()), ..rule("r") }, "path", "size limit"),
        (RuleSpec { path: Some(long), ..rule("r") }, "path", "at most 512"),
        (RuleSpec { header: header("a b", None), ..rule("r") }, "header.name", "header field"),
        (RuleSpec { header: header("a", Some("[")), ..rule("r") }, "header.value", "regular expression"),
    ] {
        let error = Rules::compile(vec![rule("fine"), spec.clone()]).expect_err(field);
        assert_eq!((error.rule.as_str(), error.field), (spec.name.as_str(), field));
        assert!(error.accepted.contains(parts), "{error}");
    }
    let error = Rules::compile(vec![rule("a"), rule("b"), rule("a")]).expect_err("a name twice");
    assert!(error.accepted.contains("no earlier rule"), "{error}");
    let many = (0..=MAX_RULES).map(|i| rule(&format!("r{i}"))).collect();
    assert!(Rules::compile(many).expect_err("too many").accepted.contains("100"));
}
