//! What the verifier says about each program: for the table in docs/verifier.md. It is for tests
//! alone, because it lowers this process's limit of open files for a moment.

use std::fs::File;
use std::os::fd::AsRawFd as _;

use aya::VerifierLogLevel;
use aya::programs::{Program, ProgramError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::error::KernelError;
use super::gates::NAMES;
use super::load::{LoadOptions, PROGRAMS, load, open, refused};
use super::pacing::GATE;

/// What one program costs the verifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramStatistics {
    /// Name of the program.
    pub name: String,
    /// Instructions that it processed; the limit is a million.
    pub instructions: u32,
    /// Stack, bytes: before Linux 7 of the program and all its functions together, since then of
    /// the deepest chain of calls, whose limit is 512.
    pub stack_bytes: u32,
}

/// Has every program verified on the running kernel.
pub fn statistics() -> Result<Vec<ProgramStatistics>, KernelError> {
    // The sizes of maps say nothing to the verifier.
    let options = LoadOptions { pairs: 1024, endpoints: 4096, breakers: 1024, limits: 1024 };
    let (mut ebpf, _) = open(options, None, VerifierLogLevel::STATS)?;
    let mut all = Vec::new();
    for name in PROGRAMS.iter().map(|(name, _)| *name).chain(NAMES).chain([GATE]) {
        let program =
            ebpf.program_mut(name).ok_or(KernelError::Missing { what: "program", name })?;
        let log = refused_for_want_of_a_descriptor(program, name)?;
        all.push(parse(name, &log).ok_or_else(|| KernelError::Program {
            program: name.to_owned(),
            detail: format!("the verifier gave no statistics: {log}"),
            cure: "see `guardctl doctor`",
        })?);
    }
    Ok(all)
}

/// aya gives the verifier's log of refused programs alone. With no file descriptor left the kernel
/// verifies the program as a whole and then refuses it.
fn refused_for_want_of_a_descriptor(
    program: &mut Program,
    name: &'static str,
) -> Result<String, KernelError> {
    let failed = |what: &'static str| {
        move |source: std::io::Error| KernelError::Io { what, path: name.to_owned(), source }
    };
    // The lowest free one, which is the next to be given out.
    let next = File::open("/dev/null").map_err(failed("opening /dev/null for"))?.as_raw_fd();
    let usual = getrlimit(Resource::Nofile);
    let none = Rlimit { current: Some(next.unsigned_abs().into()), maximum: usual.maximum };
    setrlimit(Resource::Nofile, none).map_err(|e| failed("limiting open files for")(e.into()))?;
    let result = load(program);
    setrlimit(Resource::Nofile, usual).map_err(|e| failed("allowing open files for")(e.into()))?;
    match result {
        Err(ProgramError::LoadError { io_error, verifier_log })
            if io_error.raw_os_error() == Some(libc::EMFILE) =>
        {
            Ok(verifier_log.to_string())
        }
        // Refused for what it does: its statistics end where the verifier did.
        Err(error @ ProgramError::LoadError { .. }) => Err(refused(name, &error)),
        Err(other) => Err(KernelError::Program {
            program: name.to_owned(),
            detail: other.to_string(),
            cure: "run this test alone: others may have closed a file meanwhile",
        }),
        Ok(()) => Err(KernelError::Program {
            program: name.to_owned(),
            detail: "it was loaded with no file descriptor left".to_owned(),
            cure: "run this test alone: others may have closed a file meanwhile",
        }),
    }
}

/// `stack depth 120+16` (since Linux 7 `stack depth max 136`), and `processed 1234 insns (limit
/// 1000000) …`.
fn parse(name: &str, log: &str) -> Option<ProgramStatistics> {
    let after = |word: &str| log.lines().find_map(|line| line.strip_prefix(word));
    let stack = after("stack depth ")?.trim_start_matches("max ").split(' ').next()?;
    let stack_bytes = stack.split('+').map(|part| part.parse::<u32>().ok()).sum::<Option<u32>>()?;
    let instructions = after("processed ")?.split(' ').next()?.parse().ok()?;
    Some(ProgramStatistics { name: name.to_owned(), instructions, stack_bytes })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn statistics_are_read_from_the_log() {
        let log = "verification time 71 usec\nstack depth 120+16\n\
                   processed 1342 insns (limit 1000000) max_states_per_insn 2 total_states 40\n";
        let read = parse("p", log).unwrap();
        assert_eq!((read.instructions, read.stack_bytes), (1342, 136));
        let newer = "stack depth max 240\nsubprog 0 (p) main insns_self 29\nprocessed 29 insns\n";
        assert_eq!(parse("p", newer).unwrap().stack_bytes, 240);
        assert_eq!(parse("p", "processed 1342 insns"), None);
    }
}
