//! `clan`: what this machine can compute on, whether it computes correctly, and how fast.

mod bench;
mod devices;
mod only;
mod output;
#[cfg(feature = "opencl")]
mod tune;
mod verify;

use clap::{Parser, Subcommand};
use output::Failure;
use std::process::ExitCode;

const EXIT_CODES: &str = "\
Exit codes:
  0  everything went well
  1  something failed, or an answer was wrong
  2  the command line is wrong, or names a device that does not exist

Environment:
  CLAN_DEVICE          the default device, named as for --device
  CLAN_OPENCL_LIBRARY  the OpenCL loader to use
  CLAN_CACHE_DIR       where compiled kernels and tuned points are kept; CLAN_CACHE=off keeps none
  CLAN_TUNED           off ignores what `clan tune` found
  RUST_LOG             what is logged to stderr, as in RUST_LOG=clan=debug";

/// N-dimensional arrays on any OpenCL device, or on the CPU when there is none.
///
/// Lists the devices of this machine, checks every operation on them, measures how fast they
/// are, and makes their kernels faster. Answers go to stdout, everything else to stderr.
#[derive(Parser)]
#[command(name = "clan", version, after_long_help = EXIT_CODES, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Devices(devices::Args),
    Verify(verify::Args),
    Bench(bench::Args),
    #[cfg(feature = "opencl")]
    Tune(tune::Args),
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let done = match Cli::parse().command {
        Command::Devices(args) => devices::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Bench(args) => bench::run(&args),
        #[cfg(feature = "opencl")]
        Command::Tune(args) => tune::run(&args),
    };
    let (code, message) = match done {
        Ok(true) => (0, None),
        Ok(false) => (1, None),
        // Whoever read the output has gone, as in `clan bench | head -1`.
        Err(Failure::Gone) => (0, None),
        Err(Failure::Usage(message)) => (2, Some(message)),
        Err(Failure::Failed(message)) => (1, Some(message)),
    };
    if let Some(message) = message {
        output::note(format_args!("error: {message}"));
    }
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
