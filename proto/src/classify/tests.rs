use super::*;

fn name_with(method: &str, path: &str, kind: Kind, rules: &Rules, templates: &Templates) -> String {
    let mut out = String::from("left over");
    let request = Request { method, host: "www.example.org:8080", path, kind, field: &|_| None };
    classify(&request, rules, templates, &mut out);
    out
}

fn name(method: &str, path: &str, kind: Kind) -> String {
    name_with(method, path, kind, &Rules::default(), &Templates::default())
}

#[test]
fn what_numbers_a_thing_goes_and_what_names_it_stays() {
    for (path, class) in [
        ("/", "GET /"),
        ("", "GET /"),
        ("/news", "GET /news"),
        ("/News", "GET /News"),
        ("/news/", "GET /news/"),
        ("/news/17", "GET /news/{n}"),
        ("/news/17?page=2", "GET /news/{n}"),
        ("/news/17/image.jpg", "GET /news/{n}/image.jpg"),
        ("/img/0012345.jpg", "GET /img/{n}.jpg"),
        ("/u/1b4e28ba-2fa1-11d2-883f-0016d3cca427", "GET /u/{uuid}"),
        ("/blob/deadbeef01", "GET /blob/{hex}"),
        ("/decade/face", "GET /decade/face"),
        ("/api/v2/users/81234", "GET /api/v2/users/{n}"),
        ("/plone5/front-page", "GET /plone5/front-page"),
        ("/s/QmFzZTY0dGV4dCBvZiBzb21l12", "GET /s/{id}"),
        ("/1/2/3/4/5/6/7/8/9/x.pdf", "GET /{n}/{n}/{n}/{n}/{n}/{n}/{n}/{n}/{rest}.pdf"),
        ("/caf\u{e9}", "GET /caf~"),
        ("/a\"b", "GET /a~b"),
        ("/a b/c", "GET /a~b/c"),
    ] {
        assert_eq!(name("GET", path, Kind::Whole), class, "{path}");
    }
}

#[test]
fn plone_says_itself_what_is_a_name() {
    for (path, class) in [
        ("/a/@@images/1b4e28ba-2fa1-11d2-883f-0016d3cca427.jpeg", "GET /a/@@images/{uuid}.jpeg"),
        ("/a/@@images/image/large", "GET /a/@@images/image/large"),
        ("/a/@@images/image-400-0123456789abcdef0123456789abcdef.png", "GET /a/@@images/{id}.png"),
        ("/a/@@download/file/annual report.pdf", "GET /a/@@download/file/*.pdf"),
        ("/a/@@download/file", "GET /a/@@download/file"),
        ("/a/@@download/file/minutes", "GET /a/@@download/file/*"),
        ("/a/@@display-file/file/b.docx", "GET /a/@@display-file/file/*.docx"),
        ("/a/at_download/file", "GET /a/at_download/file"),
        ("/++resource++plone.app.widgets/x.js", "GET /++resource++plone.app.widgets/x.js"),
        ("/++plone++static/++unique++1700000000/a.css", "GET /++plone++static/++unique++{n}/a.css"),
        ("/++api++/news/@search", "GET /++api++/news/@search"),
        ("/a/@@export2024", "GET /a/@@export2024"),
        ("/VirtualHostBase/http/example.org:80/site/VirtualHostRoot/_vh_cms/news/17", "GET /site/news/{n}"),
        ("/VirtualHostBase/https/a:443/b/Plone/VirtualHostRoot/_vh_x/_vh_y/", "GET /b/Plone/"),
        ("/VirtualHostBase/http/a:80/Plone/VirtualHostRoot", "GET /Plone"),
        ("/VirtualHostBase/http/a:80/VirtualHostRoot/x", "GET /x"),
        ("/VirtualHostBase/http", "GET /"),
        ("/a/VirtualHostBase/http/b", "GET /a/VirtualHostBase/http/b"),
    ] {
        assert_eq!(name("GET", path, Kind::Whole), class, "{path}");
    }
}

#[test]
fn kinds_and_methods_are_classes_of_their_own() {
    for (method, kind, class) in [
        ("GET", Kind::Whole, "GET /a/{n}"),
        ("GET", Kind::Range, "GET /a/{n} [range]"),
        ("GET", Kind::Conditional, "GET /a/{n} [conditional]"),
        ("HEAD", Kind::Head, "HEAD /a/{n}"),
        ("PROPFIND", Kind::Whole, "PROPFIND /a/{n}"),
        ("MADE-UP", Kind::Whole, "METHOD /a/{n}"),
        ("get", Kind::Whole, "METHOD /a/{n}"),
    ] {
        assert_eq!(name(method, "/a/7", kind), class);
    }
}

#[test]
fn a_name_that_must_be_cut_keeps_whole_segments_its_kind_and_its_extension() {
    let path = format!("/{}/file.pdf", ["abcdefghijklmnopqrstuvwxyz-abcdefghijkl"; 6].join("/"));
    let plain = name("GET", &path, Kind::Whole);
    assert!(plain.len() <= MAX_LEN && plain.ends_with("ijkl/{rest}.pdf"), "{plain}");
    let range = name("GET", &path, Kind::Range);
    assert!(range.len() <= MAX_LEN && range.ends_with("ijkl/{rest}.pdf [range]"), "{range}");
}

#[test]
fn every_request_has_a_class_with_a_valid_name_that_is_not_renamed() {
    let seed = fastrand::u64(..);
    let mut rng = fastrand::Rng::with_seed(seed);
    let rules = Rules::compile(vec![
        RuleSpec { name: "by-group".into(), path: Some("^/x(?P<all>.*)".into()), ..RuleSpec::default() },
        RuleSpec {
            name: "learned".into(),
            path: Some("^/y(?P<all>.*)".into()),
            learned: true,
            ..RuleSpec::default()
        },
    ])
    .expect("valid rules");
    let places = r#"[{"path":"","names":200,"share":1,"extensions":true,"keep":{"y":"busy"}},
        {"path":"/*","names":40,"share":5,"extensions":false,"keep":{}}]"#;
    let templates: Templates = serde_json::from_str(places).expect("valid templates");
    let alphabet: Vec<char> = "/////..ab01@+*{}[]_~=% \"\\é\n?#xy".chars().collect();
    for _ in 0..20_000 {
        let path: String = std::iter::once('/')
            .chain((0..rng.usize(..300)).map(|_| rng.choice(&alphabet).copied().unwrap_or('/')))
            .collect();
        let (method, kind) = *rng
            .choice(&[
                ("GET", Kind::Whole),
                ("GET", Kind::Range),
                ("HEAD", Kind::Head),
                ("X\u{1}", Kind::Whole),
            ])
            .expect("some");
        let written = name_with(method, &path, kind, &rules, &templates);
        let class =
            ClassName::parse(&written).unwrap_or_else(|| panic!("seed {seed}: {path:?}: {written:?}"));
        assert_eq!(renamed(&class, &templates), None, "seed {seed}: {path:?}");
        let by_rule = rules.of_class(&class).is_some();
        assert_eq!(
            by_rule,
            path.starts_with("/x") || path.starts_with("/y"),
            "seed {seed}: {path:?}: {written}"
        );
    }
}

#[test]
fn a_classification_reads_back_as_itself_and_its_version_tells_changes() {
    let rule = RuleSpec { name: "exports".into(), methods: vec!["GET".into()], ..RuleSpec::default() };
    let places = r#"[{"path":"/docs","names":57,"share":5,"extensions":true,"keep":{"index":"busy"}}]"#;
    let templates: Templates = serde_json::from_str(places).expect("valid templates");
    let first = Classification::new(std::slice::from_ref(&rule), &templates);
    let text = serde_json::to_string(&first).expect("plain data");
    assert_eq!(serde_json::from_str::<Classification>(&text).expect(&text), first);
    assert_eq!(Classification::new(std::slice::from_ref(&rule), &templates).version, first.version);
    for other in [Classification::new(&[], &templates), Classification::new(&[rule], &Templates::default())] {
        assert_ne!(other.version, first.version);
    }
}

#[test]
fn a_classification_is_bounded_and_keeps_the_shallow_templates() {
    let place = |path: String| serde_json::json!({"path": path, "names": 99, "share": 5, "extensions": true, "keep": {}});
    let mut places: Vec<_> = (0..5000).map(|i| place(format!("/a/b/c/{i:0>40}"))).collect();
    places.push(place("/docs".into()));
    let templates: Templates = serde_json::from_value(places.into()).expect("valid templates");
    let bounded = Classification::new(&[], &templates);
    let size = serde_json::to_string(&bounded).expect("plain data").len();
    assert!(size <= Classification::MAX_BYTES, "{size}");
    assert!(bounded.templates.len() > 100);
    assert_eq!(
        name_with("GET", "/docs/x", Kind::Whole, &Rules::default(), &bounded.templates),
        "GET /docs/*"
    );
}

#[test]
fn templates_of_absurd_depth_are_dropped() {
    let deep = format!(
        r#"[{{"path":"{}","names":1,"share":5,"extensions":true,"keep":{{}}}}]"#,
        "/x".repeat(100_000)
    );
    let templates: Templates = serde_json::from_str(&deep).expect("valid templates");
    assert!(templates.is_empty());
}
