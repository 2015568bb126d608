//! Agents of every temper, as commands that call one URL. They call loopback only, and only the
//! careless one leaves processes behind, in its own bulkhead.

use std::process::Command;

use testbed::process::binary;

fn agent(url: &str, words: &str) -> Command {
    let mut command = Command::new(binary("testbed-agent").unwrap());
    command.args(["--quiet", "--target", url]).args(words.split(' '));
    command
}

/// Waits for 5 s, opens a connection for each call, and tries again for ever.
pub fn patient(url: &str) -> Command {
    agent(url, "--concurrency 8 --interval 150ms --timeout 5s --connect-timeout 5s")
}

/// Opens a connection for each call, and gives up what took longer than 800 ms.
pub fn brisk(url: &str) -> Command {
    agent(url, "--concurrency 4 --interval 80ms --timeout 800ms --connect-timeout 800ms")
}

/// Keeps its connections, and gives one up that was silent for 800 ms.
pub fn pooling(url: &str) -> Command {
    let words = "--keep-alive --concurrency 4 --interval 80ms --timeout 800ms \
                 --connect-timeout 800ms";
    agent(url, words)
}

/// Asks a name server, which is beside the service and on port 53; see [`super::stage`].
pub fn resolving(url: &str) -> Command {
    agent(url, "--concurrency 4 --interval 80ms --timeout 800ms")
}

/// Keeps its connections, and takes for dead what took longer than 200 ms.
pub fn impatient(url: &str) -> Command {
    agent(url, "--keep-alive --concurrency 4 --interval 50ms --timeout 200ms")
}

/// Calls until the first error, and never again.
pub fn resigned(url: &str) -> Command {
    shell(
        url,
        "while \"$0\" --target \"$1\" --count 1 | grep -q '\"outcome\":\"ok\"'; do :; done; exec sleep 600",
    )
}

/// Leaves a child behind at each call that fails.
pub fn careless(url: &str) -> Command {
    let script = "while :; do \"$0\" --target \"$1\" --count 1 | grep -q '\"outcome\":\"ok\"' || \
                  for i in 1 2 3 4 5 6 7 8; do sleep 600 & done; sleep 0.02; done";
    shell(url, script)
}

fn shell(url: &str, script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).arg(binary("testbed-agent").unwrap()).arg(url);
    command
}
