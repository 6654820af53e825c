//! Balancer, agents and instances as child processes: to be killed like any other, and measured from outside.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// Where the programs are, built if they are not there or older than this test.
fn programs() -> &'static PathBuf {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let test = std::env::current_exe().expect("a test has an executable");
        let profile =
            test.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps/TEST").to_owned();
        // Other tests are processes of their own: only one of them builds, the rest wait and find it done.
        let lock = File::create(profile.join("sluice-tests.lock")).expect("a lock file beside the programs");
        lock.lock().expect("the lock");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args([
            "build",
            "--quiet",
            "--bins",
            "-p",
            "sluice-balancer",
            "-p",
            "sluice-agent",
            "-p",
            "sluice-emulation",
            // As this crate has it: otherwise the balancer, and what its dependencies share with others, is built twice.
            "--features",
            "sluice-balancer/kubernetes",
        ]);
        cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        // What cargo told this test of its own package would make it build again what looks at that (ring), and all
        // that depends on it.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(name);
            }
        }
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        if let Some(target) = profile.parent() {
            cargo.arg("--target-dir").arg(target);
        }
        let status = cargo.status().expect("cargo is there, as it built this test");
        assert!(status.success(), "the programs can not be built");
        profile
    })
}

/// Where a program is.
pub fn program(name: &str) -> PathBuf {
    programs().join(name)
}

/// Runs a program to its end.
pub fn run(program: &str, arguments: &str) -> Output {
    command(program, arguments).output().expect("the program can be started")
}

/// As [`run`], and killed after [`PATIENCE`](crate::PATIENCE): for one that may not end. What it says on standard error.
///
/// # Panics
/// If it does not end.
pub async fn run_soon(program: &str, arguments: &str) -> (ExitStatus, String) {
    // Builds it first if need be, which takes longer.
    let mut command = command(program, arguments);
    let spawned = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut running = Process { child: spawned.expect("the program can be started") };
    let stderr = running.child.stderr.take().expect("piped");
    let said = tokio::task::spawn_blocking(move || std::io::read_to_string(stderr));
    let said = crate::soon(&format!("the end of {program} {arguments}"), said).await;
    let status = running.child.wait().expect("it is a child");
    (status, said.expect("no panic").expect("a pipe"))
}

fn command(program: &str, arguments: &str) -> Command {
    let mut command = Command::new(programs().join(program));
    command.args(arguments.split_whitespace()).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SLUICE_") {
            command.env_remove(name);
        }
    }
    command
}

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// What it logs goes to the test's own output.
    pub fn start(program: &str, arguments: &str) -> Self {
        Self {
            child: command(program, arguments)
                .stdout(Stdio::null())
                .spawn()
                .expect("the program can be started"),
        }
    }

    /// As [`start`](Self::start), by a shell that does `first` and becomes the program.
    pub fn start_after(first: &str, program: &str, arguments: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{first} exec \"$0\" \"$@\"")]);
        command.arg(programs().join(program)).args(arguments.split_whitespace());
        Self { child: command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("a shell") }
    }

    /// Through `script`, a shell's, which gets the command as its arguments; `set_up` adds what else it needs.
    pub fn start_by(script: &str, program: &str, arguments: &str, set_up: impl FnOnce(&mut Command)) -> Self {
        let direct = command(program, arguments);
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(direct.get_program()).args(direct.get_args());
        for (name, _) in direct.get_envs() {
            shell.env_remove(name);
        }
        shell.stdin(Stdio::null()).stdout(Stdio::null());
        set_up(&mut shell);
        Self { child: shell.spawn().expect("a shell is there") }
    }

    /// An emulated instance, and where it listens.
    pub fn instance(arguments: &str) -> (Self, SocketAddr) {
        let mut command = command("sluice-instance", arguments);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it can be started");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        let address = line.trim().strip_prefix("listening on ").and_then(|a| a.parse().ok());
        (Self { child }, address.unwrap_or_else(|| panic!("the instance said {line:?}")))
    }

    /// kill -9, and waits for its end.
    pub fn kill(mut self) {
        self.child.kill().expect("it was running");
        self.child.wait().expect("it has ended");
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// A signal by its name, such as HUP.
    pub fn signal(&self, name: &str) {
        let (pid, name) = (self.child.id().to_string(), format!("-{name}"));
        assert!(Command::new("kill").args([&name, &pid]).status().expect("kill is there").success());
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is a child")
    }

    /// The most memory that it ever had, in KiB.
    pub fn peak_rss_kib(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// The memory that it has, in KiB.
    pub fn rss_kib(&self) -> u64 {
        self.memory("VmRSS:")
    }

    fn memory(&self, what: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("Linux says so");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// The processor's time that it has used, in steps of 10 ms.
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        // proc_pid_stat(5): after the name, which is in brackets, fields 3 and on; 14 and 15 are ticks of 10 ms.
        let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).map(|n| n.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(10 * ticks)
    }

    /// Files without a name that it has open below `directory`.
    pub fn unnamed_files(&self, directory: &std::path::Path) -> usize {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs");
        let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        let gone = |target: &PathBuf| target.to_string_lossy().ends_with(" (deleted)");
        targets.filter(|target| target.starts_with(directory) && gone(target)).count()
    }

    /// Open file descriptors.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs").count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Addresses for programs to listen on, which nobody else is given until the test program ends: they stay bound, without
/// listening, in a way that lets somebody who asks for one by its number listen there.
pub fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    [(); N].map(|()| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("an option that every system has");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
        let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("bound");
        std::mem::forget(socket);
        address
    })
}
