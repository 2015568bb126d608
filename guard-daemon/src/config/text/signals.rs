//! Names of errnos and signals that the configuration may use.

use nix::errno::Errno;

use super::{Problem, shown, suggest};

/// Errnos that a refused connect may return: those that connect(2) can return anyway, so that no
/// client meets one that it has never heard of.
pub(crate) const ERRNOS: &[&str] = &[
    "EACCES",
    "EADDRNOTAVAIL",
    "EAGAIN",
    "ECONNABORTED",
    "ECONNREFUSED",
    "ECONNRESET",
    "EHOSTDOWN",
    "EHOSTUNREACH",
    "EIO",
    "ENETDOWN",
    "ENETUNREACH",
    "ENOBUFS",
    "EPERM",
    "ETIMEDOUT",
];

/// The errno with one of these names.
pub(crate) fn errno(name: &str) -> Option<Errno> {
    ERRNOS.iter().find(|known| **known == name)?;
    // The names are the kernel's own, and so are those of the library's constants.
    (1..=133).map(Errno::from_raw).find(|errno| format!("{errno:?}") == name)
}

/// Signals that a recovery may send.
pub(crate) const SIGNALS: &[&str] =
    &["SIGHUP", "SIGINT", "SIGKILL", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2"];

/// Checks that `word` is one of `known`.
pub(crate) fn one_of(word: &str, known: &[&'static str]) -> Result<&'static str, Problem> {
    if let Some(found) = known.iter().find(|k| **k == word) {
        return Ok(found);
    }
    let list = crate::config::schema::quoted(known);
    let help = match suggest::nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"? possible: {list}"),
        None => format!("possible: {list}"),
    };
    Err(Problem::new(format!("cannot be \"{}\"", shown(word)), "unknown value", help))
}
