//! Paths: absolute ones of files and directories, relative ones of cgroups.

use super::{Problem, shown};
use crate::cgroup::{CgroupPattern, WILDCARDS};

/// Longest path of a Unix socket: `sun_path` without the final NUL.
const SOCKET_PATH_BYTES: usize = 107;
const PATH_BYTES: usize = 4095;
const COMPONENT_BYTES: usize = 255;

/// Checks an absolute path without `..` and without control characters.
pub(crate) fn check_absolute(path: &str) -> Result<(), Problem> {
    if !path.starts_with('/') {
        return Err(Problem::new(
            format!("must be an absolute path, not \"{}\"", shown(path)),
            "not absolute",
            "start it with `/`: guardd's working directory is not yours",
        ));
    }
    if path.chars().any(char::is_control) {
        return Err(control_characters());
    }
    if path.split('/').any(|c| c == "..") {
        return Err(Problem::new("must not contain `..`", "`..`", "write the path that is meant"));
    }
    if path.trim_matches('/').is_empty() {
        return Err(Problem::new(
            "cannot be the root directory",
            "`/`",
            "name a directory below it",
        ));
    }
    if path.len() > PATH_BYTES || path.split('/').any(|c| c.len() > COMPONENT_BYTES) {
        return Err(Problem::new("is too long for a path", "too long", LENGTHS));
    }
    Ok(())
}

/// Checks the path of a Unix socket.
pub(crate) fn check_socket(path: &str) -> Result<(), Problem> {
    check_absolute(path)?;
    if path.len() > SOCKET_PATH_BYTES {
        return Err(Problem::new(
            format!("is {} bytes long; a Unix socket's path has at most 107", path.len()),
            "too long",
            "use a shorter directory, such as /run/guard",
        ));
    }
    Ok(())
}

/// Checks the path of a cgroup: below the root, normal components only; or an absolute pattern.
pub(crate) fn check_cgroup(path: &str) -> Result<(), Problem> {
    let bad = |what: &str, label: &str, help: &str| Err(Problem::new(what, label, help));
    if path.is_empty() {
        return bad("is empty", "empty", "name a directory, such as \"agents/research\"");
    }
    if path.chars().any(char::is_control) {
        return Err(control_characters());
    }
    if path.starts_with('/') {
        return check_pattern(path);
    }
    if path.contains(WILDCARDS) {
        return Err(Problem::new(
            "has a pattern in a path that guard would make",
            "a pattern",
            format!("from the root of the cgroup tree: write \"/{}\"", shown(path)),
        ));
    }
    if path.chars().any(char::is_whitespace) {
        return bad("must not contain spaces", "a space", "use `-` or `_` in its place");
    }
    for component in path.split('/') {
        if component == ".." {
            return bad(
                "must not contain `..`",
                "leaves the root",
                "name a directory below the root",
            );
        }
        if component == "." || component.is_empty() {
            let label = if component.is_empty() { "an empty component" } else { "`.`" };
            return bad(
                "must have normal components only",
                label,
                "write each directory once, with one `/` between, none at the end",
            );
        }
        if component.len() > COMPONENT_BYTES {
            return bad("is too long for a path", "too long", LENGTHS);
        }
        if component.starts_with("cgroup.") {
            return bad(
                "must not use names of the kernel's own files",
                "`cgroup.` belongs to the kernel",
                "choose another name",
            );
        }
    }
    if path.len() > PATH_BYTES {
        return bad("is too long for a path", "too long", LENGTHS);
    }
    Ok(())
}

/// Where cgroup2 is mounted as a rule.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup/unified/", "/sys/fs/cgroup/"];

/// Checks a pattern of cgroups of others.
fn check_pattern(pattern: &str) -> Result<(), Problem> {
    let bad = |what: &str, label: &str, help: String| Err(Problem::new(what, label, help));
    if let Some(below) = MOUNTS.iter().find_map(|mount| pattern.strip_prefix(mount)) {
        return bad(
            "must start at the root of the cgroup tree, not of the file system",
            "where cgroup2 is mounted",
            format!("write \"/{}\"", shown(below)),
        );
    }
    if let Err(why) = CgroupPattern::parse(pattern) {
        let help = "such as \"/system.slice/docker-*.scope\"; for a cgroup that guard makes, write \
                    it without the leading `/`";
        return bad(&format!("is no pattern of cgroups: {why}"), "no pattern", help.into());
    }
    let all = |part: &str| part.chars().all(|c| WILDCARDS.contains(&c));
    if pattern.trim_matches('/').split('/').all(all) {
        return bad(
            "would match the whole host",
            "every cgroup",
            "name at least one slice, scope or service".into(),
        );
    }
    if pattern.len() > PATH_BYTES || pattern.split('/').any(|c| c.len() > COMPONENT_BYTES) {
        return bad("is too long for a path", "too long", LENGTHS.into());
    }
    Ok(())
}

const LENGTHS: &str = "a path has at most 4095 bytes, each component at most 255";

fn control_characters() -> Problem {
    Problem::new("must not contain control characters", "a control character", "remove it")
}
