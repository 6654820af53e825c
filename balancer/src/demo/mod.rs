//! `sluice-balancer demo`.
use sluice_process::RunError;
#[derive(Clone, Debug, clap::Args)]
pub struct DemoOptions {}
pub fn main(_: &DemoOptions) -> Result<(), RunError> {
    Ok(())
}
