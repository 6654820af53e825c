//! How a program ends: what it prints and with which code.

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use crate::{ConfigError, token::TokenError};

/// Exit codes, part of the contract with service managers: 2 need not be tried again, 1 may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Stopped cleanly.
    Ok = 0,
    /// Failed while running.
    Failed = 1,
    /// Bad usage or configuration; clap exits with the same for a bad flag.
    Usage = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why `run` of a program came back other than by being stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Anything that went wrong later. Boxed, as only `main` sees it and only prints it.
    #[error("{0}")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

impl RunError {
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }
}

impl From<TokenError> for RunError {
    fn from(error: TokenError) -> Self {
        Self::Config(error.into())
    }
}

/// Last line of `main`: prints `error: ...` to stderr if there is one, and gives the exit code.
pub fn report(result: Result<(), RunError>) -> ExitCode {
    report_to(&mut io::stderr(), result).into()
}

fn report_to(stderr: &mut impl Write, result: Result<(), RunError>) -> Exit {
    let (exit, message) = match result {
        Ok(()) => return Exit::Ok,
        Err(RunError::Config(error)) => (Exit::Usage, whole_story(&error)),
        Err(RunError::Failed(error)) => (Exit::Failed, whole_story(&*error)),
    };
    // Not `eprintln!`, which panics when stderr is closed and would turn the code into 101. The code still tells.
    writeln!(stderr, "error: {message}").ok();
    exit
}

/// The message and those of its causes that it does not already quote.
fn whole_story(error: &dyn Error) -> String {
    let mut story = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !story.contains(&text) {
            story = format!("{story}: {text}");
        }
        cause = error.source();
    }
    story
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the admin server stopped")]
    struct Outer(#[source] io::Error);

    fn told(result: Result<(), RunError>) -> (Exit, String) {
        let mut stderr = Vec::new();
        let exit = report_to(&mut stderr, result);
        (exit, String::from_utf8(stderr).expect("text"))
    }

    #[test]
    fn each_ending_has_its_code_and_line() {
        let config = ConfigError::missing("--instance", "give the address of the instance");
        for (result, exit, line) in [
            (Ok(()), Exit::Ok, ""),
            (
                Err(config.into()),
                Exit::Usage,
                "error: --instance is missing: give the address of the instance\n",
            ),
            (
                Err(RunError::failed(Outer(io::Error::other("out of files")))),
                Exit::Failed,
                "error: the admin server stopped: out of files\n",
            ),
            (Err(RunError::failed("gone")), Exit::Failed, "error: gone\n"),
        ] {
            assert_eq!(told(result), (exit, line.to_owned()));
        }
    }

    #[test]
    fn a_cause_that_is_already_quoted_is_not_repeated() {
        let path = "/etc/sluice.toml".into();
        let error = ConfigError::Unreadable { path, source: io::Error::other("denied") };
        let (_, line) = told(Err(error.into()));
        assert_eq!(line, "error: cannot read configuration file /etc/sluice.toml: denied\n");
    }
}
