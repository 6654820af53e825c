//! Completions for shells and manual pages, made from a program's own command line.

use std::fs::create_dir_all;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Command};
pub use clap_complete::Shell;

use crate::RunError;

#[derive(Debug, Args)]
pub struct CompletionOptions {
    /// Which shell
    pub shell: Shell,
}

#[derive(Debug, Args)]
pub struct ManualOptions {
    /// Directory to write them into; made if it is not there
    pub directory: PathBuf,
}

/// Prints `command`'s completions.
///
/// # Errors
/// Nobody reads them to their end.
pub fn completions(mut command: Command, options: &CompletionOptions) -> Result<(), RunError> {
    let name = command.get_name().to_owned();
    // The library panics where it can not write.
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, name, &mut script);
    io::stdout().write_all(&script).map_err(RunError::failed)
}

/// Writes `command`'s manual page, and one for each of its commands.
///
/// # Errors
/// The directory can not be made or written to.
pub fn manual(command: Command, options: &ManualOptions) -> Result<(), RunError> {
    let write = || {
        create_dir_all(&options.directory)?;
        clap_mangen::generate_to(command, &options.directory)
    };
    write().map_err(|error: io::Error| {
        RunError::failed(format!("can not write to {}: {error}", options.directory.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        Command::new("mill").about("Grinds").subcommand(Command::new("grind").about("Grinds now"))
    }

    #[test]
    fn each_command_has_a_page() {
        let directory = tempfile::tempdir().expect("a directory");
        let options = ManualOptions { directory: directory.path().join("man1") };
        manual(command(), &options).expect("written");
        let page = std::fs::read_to_string(options.directory.join("mill.1")).expect("its page");
        assert!(page.contains("Grinds"), "{page}");
        assert!(options.directory.join("mill-grind.1").exists());
    }

    #[test]
    fn a_directory_that_can_not_be_made_is_named() {
        let options = ManualOptions { directory: "/proc/none/man1".into() };
        let error = manual(command(), &options).expect_err("not there").to_string();
        assert!(error.contains("/proc/none/man1"), "{error}");
    }
}
