//! Nothing leads out of the roots, and nothing of where they are is told.

use super::*;

/// What follows the root, in a path or a URI, and leads nowhere.
const TAILS: [&str; 56] = [
    "/../secret/file",
    "/..",
    "/../",
    "/../root-private/file",
    "-private/file",
    "/dir/../../secret/file",
    "/dir/../file",
    "/./file",
    "/./../secret/file",
    "/../root/file",
    "/%2e%2e/secret/file",
    "/%2E%2E/secret/file",
    "/.%2e/secret/file",
    "/%2e./secret/file",
    "/..%2fsecret%2ffile",
    "/%2e%2e%2fsecret%2ffile",
    "/%252e%252e/secret/file",
    "/%252e%252e%252fsecret%252ffile",
    "/..%5csecret%5cfile",
    "/..\\secret\\file",
    "/%c0%ae%c0%ae/secret/file",
    "/%c0%ae%c0%ae%c0%afsecret%c0%affile",
    "/%e0%80%ae%e0%80%ae/secret/file",
    "/%u002e%u002e/secret/file",
    "/..;/secret/file",
    "/.../secret/file",
    "/....//secret/file",
    "//..//secret/file",
    "/file/../../secret/file",
    "/file/",
    "/file/.",
    "/file%2f",
    "/file%00",
    "/file%00.jpg",
    "/%00",
    "/..%00/secret/file",
    "/%",
    "/%2",
    "/%zz",
    "/%ff%fe",
    "/file%0d%0aset-cookie:%20c=d",
    "/*",
    "/dir",
    "/dir/",
    "/dir/none",
    "/file/none",
    "/out",
    "/out-twice",
    "/out-dir/file",
    "/absolute",
    "/dangling",
    "/loop",
    "/proc/self/environ",
    "/environ",
    "/fd/0",
    "/zero",
];

/// Values that do not begin with the root or its URI.
const ELSEWHERE: [&str; 24] = [
    "/etc/passwd",
    "//etc/passwd",
    "/proc/self/environ",
    "/proc/self/mem",
    "/proc/1/environ",
    "/dev/zero",
    "/dev/stdin",
    "/",
    "/%",
    ".",
    "..",
    "file",
    "../secret/file",
    "secret/file",
    "~/file",
    "file:///etc/passwd",
    "http://127.0.0.1/internal/file",
    "\\etc\\passwd",
    "@internal",
    "/internal",
    "/internalfile",
    "/INTERNAL/file",
    "//internal/file",
    "internal/file",
];

/// Special files and links that lead out, and the tails that name them.
fn lay_traps(dir: &Path) -> Vec<&'static str> {
    let at = |name: &str| dir.join("root").join(name);
    for (target, link) in [
        ("../secret/file", "out"),
        ("out", "out-twice"),
        ("../secret", "out-dir"),
        ("/proc", "proc"),
        ("/proc/self/environ", "environ"),
        ("/proc/self/fd", "fd"),
        ("/dev/zero", "zero"),
        ("none", "dangling"),
        ("loop", "loop"),
    ] {
        symlink(target, at(link)).expect("a link");
    }
    symlink(at("file"), at("absolute")).expect("a link");
    let _listener = UnixListener::bind(at("socket")).expect("a socket");
    let made = |program: &str, arguments: &[&str]| {
        Command::new(program).arg(at(arguments[0])).args(&arguments[1..]).status().is_ok_and(|s| s.success())
    };
    assert!(made("mkfifo", &["fifo"]), "a pipe");
    let mut traps = vec!["/socket", "/fifo"];
    // Only root can, and not everywhere.
    if made("mknod", &["device", "c", "1", "5"]) {
        traps.push("/device");
    }
    traps
}

#[tokio::test]
async fn nothing_leads_out_of_the_roots() {
    let site = FileSite::start().await;
    let traps = lay_traps(site.dir.path());
    let root = site.root().display().to_string();
    let (name, path) = (format!("/{}", "a".repeat(300)), "/a".repeat(3000));
    let tails = TAILS.into_iter().chain(traps).chain([name.as_str(), path.as_str()]);
    let beneath = |tail| [format!("X-Sendfile: {root}{tail}"), format!("X-Accel-Redirect: /internal{tail}")];
    let elsewhere = |value| [format!("X-Sendfile: {value}"), format!("X-Accel-Redirect: {value}")];
    let beside = ["secret/file", "root-private/file", "roo", ""]
        .map(|name| format!("X-Sendfile: {}/{name}", site.dir.path().display()));
    let upper = format!("X-Sendfile: {}/FILE", root.to_uppercase());
    let mut attempts: Vec<_> =
        tails.flat_map(beneath).chain(ELSEWHERE.into_iter().flat_map(elsewhere)).collect();
    attempts.extend(beside.into_iter().chain([upper]));
    assert!(attempts.len() >= 60, "{}", attempts.len());
    for attempt in &attempts {
        let answer = site.answered(naming(attempt)).await;
        assert_eq!(answer.status(), 404, "{attempt}");
        assert_nothing_leaks(&answer, &site.dir, attempt);
    }
    let bytes = [b"X-Sendfile: ", root.as_bytes(), b"/\xff\xfe"].concat();
    let answer =
        site.answered([b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n", &*bytes, b"\r\n\r\n"].concat()).await;
    assert_eq!(answer.status(), 404, "bytes that are no text");
    let refused = site.metric("sluice_agent_file_refusals_total", &[]).await;
    assert_eq!(refused, (attempts.len() + 1) as f64, "each is counted");
    assert_eq!(site.get("file", "").await.text(), "public", "and what is beneath is sent");
    println!("{} attempts", attempts.len() + 1);
}
