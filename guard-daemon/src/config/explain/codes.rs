//! Exit codes of guardctl.

use super::Topic;

pub(super) fn exit_codes() -> Topic {
    Topic::new("exit-codes", "exit-codes", "What guardctl says to scripts, for every command.")
        .fact("0", "done")
        .fact("1", "the answer is no: a drill deviated, a check failed")
        .fact("2", "bad usage or input: the message names the file, line and key, or the option")
        .fact("3", "cleanup incomplete: something that guard made is still on the host")
        .fact("4", "no daemon: guardd does not answer on its control socket")
        .fact("5", "inconclusive: a drill whose faults matched no traffic proves nothing")
}
