//! `testbed-hog`: a process that wants more than its share, to be put into a bulkhead. It obeys one
//! line of standard input at a time and answers each with one line; it ends with its input, and with
//! it all that it has started, but for a bomb, which ends with its cgroup.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{BufRead, Write, stdin, stdout};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};

const PAGE: usize = 4096;
/// Connections of a flood that are open at once.
const KEPT: usize = 300;

/// `hold BYTES`: so much memory, touched. `free`: none. `spin N`: N threads that never sleep.
/// `forks N`: N children that sleep; how many came. `devour BYTES`: a child that holds so much, again
/// and again, for ever. `flood ADDRESS`: a thread that connects as fast as it can and keeps the last few
/// hundred connections, for ever. `bomb`: children that make children, for ever. `write BYTES FILE`: to a
/// device, past all caches.
fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("sleep") => loop {
            thread::sleep(Duration::from_hours(1));
        },
        Some("bomb") => bomb(),
        Some("eat") => {
            drop(touched(std::env::args().nth(2).and_then(|n| n.parse().ok()).unwrap_or(0)));
            Ok(())
        }
        _ => obey(),
    }
}

fn obey() -> Result<()> {
    let mut held: Vec<Vec<u8>> = Vec::new();
    let mut children: Vec<Child> = Vec::new();
    let say = |text: String| {
        let mut out = stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush())
    };
    for line in stdin().lock().lines() {
        let line = line.context("cannot read the order")?;
        let mut words = line.split(' ');
        let order = words.next().unwrap_or_default();
        let word = words.next();
        let number = || word.and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
        match order {
            "hold" => {
                let bytes = number();
                held.push(touched(bytes));
                say(format!("held {bytes}"))?;
            }
            "free" => {
                held.clear();
                say("freed".into())?;
            }
            "spin" => {
                for _ in 0..number() {
                    thread::spawn(|| {
                        loop {
                            std::hint::spin_loop();
                        }
                    });
                }
                say("spins".into())?;
            }
            "forks" => {
                let wanted = number();
                let mut refused = 0;
                for _ in 0..wanted {
                    match again("sleep") {
                        Ok(child) => children.push(child),
                        Err(error) if error.raw_os_error() == Some(Errno::EAGAIN as i32) => {
                            refused += 1;
                        }
                        Err(error) => return Err(error).context("cannot start a child"),
                    }
                }
                say(format!("forked {} refused {refused}", wanted - refused))?;
            }
            "devour" => {
                let bytes = number().to_string();
                thread::spawn(move || {
                    loop {
                        if let Ok(mut child) = start(&["eat", &bytes]) {
                            drop(child.wait());
                        }
                    }
                });
                say("devours".into())?;
            }
            "flood" => {
                let address: SocketAddr = word.unwrap_or_default().parse()?;
                thread::spawn(move || flood(address));
                say("floods".into())?;
            }
            "write" => {
                let bytes = number();
                written(bytes, words.next().context("write needs a file")?)?;
                say(format!("written {bytes}"))?;
            }
            "bomb" => {
                again("bomb").context("cannot start the bomb")?;
                say("lit".into())?;
            }
            other => bail!("unknown order {other:?}"),
        }
    }
    for child in &mut children {
        // One that was killed meanwhile is gone all the same.
        drop(child.kill());
        drop(child.wait());
    }
    Ok(())
}

/// Connects to a server that never asked for it. The oldest connection is reset, so that no port waits
/// for its time to be over.
fn flood(address: SocketAddr) {
    let mut kept = VecDeque::with_capacity(KEPT);
    loop {
        if kept.len() == KEPT {
            drop(kept.pop_front());
        }
        if let Ok(stream) = TcpStream::connect(address) {
            let linger = linger { l_onoff: 1, l_linger: 0 };
            if let Err(errno) = setsockopt(&stream, sockopt::Linger, &linger) {
                eprintln!("testbed-hog: its connections will wait for their end: {errno}");
            }
            kept.push_back(stream);
        }
    }
}

/// Children that make children as fast as they can. Only the limit of its bulkhead ends it.
fn bomb() -> Result<()> {
    loop {
        if again("bomb").is_err() {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Memory of which every page is there.
fn touched(bytes: usize) -> Vec<u8> {
    let mut block = vec![0_u8; bytes];
    for place in (0..bytes).step_by(PAGE) {
        block[place] = 1;
    }
    std::hint::black_box(block)
}

/// Writes zeros, and returns when the device has them.
fn written(bytes: usize, path: &str) -> Result<()> {
    const BLOCK: usize = 16 * PAGE;
    let mut file = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)
        .with_context(|| format!("cannot open {path}"))?;
    // The kernel wants whole pages.
    let room = vec![0_u8; BLOCK + PAGE];
    let start = room.as_ptr().align_offset(PAGE);
    for _ in 0..bytes / BLOCK {
        file.write_all(&room[start..start + BLOCK]).context("cannot write")?;
    }
    Ok(())
}

fn again(how: &str) -> std::io::Result<Child> {
    start(&[how])
}

fn start(arguments: &[&str]) -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
