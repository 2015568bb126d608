//! Which bulkheads lie inside which: by their cgroups. Nothing else decides it.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::Plan;

/// Whether the cgroup `inner` lies inside `outer`; none lies inside itself. Both are plain: no `.`, no
/// `//`, no `/` at the end. By bytes, because a host with a thousand bulkheads asks a million times.
pub(crate) fn lies_inside(inner: &Path, outer: &Path) -> bool {
    let (inner, outer) = (inner.as_os_str().as_bytes(), outer.as_os_str().as_bytes());
    let Some(rest) = inner.strip_prefix(outer) else { return false };
    // The root of the tree ends with a slash, a relative one is empty.
    let whole = outer.is_empty() || outer.ends_with(b"/") || rest.starts_with(b"/");
    whole && !rest.is_empty()
}

/// Of all these (paths, and what they stand for) those around `path`, the innermost first.
pub(crate) fn around<'a, T: 'a>(
    path: &Path,
    all: impl IntoIterator<Item = (&'a Path, T)>,
) -> Vec<T> {
    let mut found: Vec<_> = all.into_iter().filter(|(other, _)| lies_inside(path, other)).collect();
    found.sort_by_key(|(other, _)| std::cmp::Reverse(other.components().count()));
    found.into_iter().map(|(_, what)| what).collect()
}

/// For each of these those around it, the innermost first; without those that have none. Two may have
/// one path for a moment, while a reload gives a bulkhead another name: both are around then.
pub(crate) fn all_around<'a, T: Copy + 'a>(
    all: impl IntoIterator<Item = (T, &'a Path)>,
) -> Vec<(T, Vec<T>)> {
    let all: Vec<_> = all.into_iter().collect();
    let mut by_path: HashMap<&[u8], Vec<T>> = HashMap::new();
    for (what, path) in &all {
        by_path.entry(path.as_os_str().as_bytes()).or_default().push(*what);
    }
    let outer = |path: &Path| -> Vec<T> {
        let above = path.ancestors().skip(1);
        above
            .filter_map(|path| by_path.get(path.as_os_str().as_bytes()))
            .flatten()
            .copied()
            .collect()
    };
    let pairs = all.into_iter().map(|(what, path)| (what, outer(path)));
    pairs.filter(|(_, outer)| !outer.is_empty()).collect()
}

impl Plan {
    /// Names of the bulkheads around this one, the innermost first.
    pub fn outers(&self, name: &str) -> Vec<&str> {
        let Some(plan) = self.bulkhead(name) else { return Vec::new() };
        let all = self.bulkheads.iter().map(|b| (b.cgroup.as_path(), b.name.as_str()));
        around(&plan.cgroup, all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_comes_first_and_names_that_only_begin_alike_are_none() {
        let all = [("a", 1), ("a/b", 2), ("a/bc", 3), ("a/b/c/d", 4), ("x", 5)];
        let of = |path: &str| around(Path::new(path), all.map(|(p, n)| (Path::new(p), n)));
        assert_eq!(of("a/b/c/d"), [2, 1]);
        assert_eq!(of("a/bc"), [1]);
        assert_eq!(of("a"), [0; 0]);
        let all = all.map(|(path, number)| (number, Path::new(path)));
        assert_eq!(all_around(all), [(2, vec![1]), (3, vec![1]), (4, vec![2, 1])]);
        let renamed = [("a", 1), ("a", 2), ("a/b", 3)].map(|(path, n)| (n, Path::new(path)));
        assert_eq!(all_around(renamed), [(3, vec![1, 2])], "both names of the outer one");
    }

    #[test]
    fn the_root_is_around_all_and_nothing_is_inside_itself() {
        let inside = |inner: &str, outer: &str| lies_inside(Path::new(inner), Path::new(outer));
        assert!(inside("/a", "/") && inside("/a/b", "/a") && inside("a", ""));
        assert!(!inside("/a", "/a") && !inside("/", "/") && !inside("", ""));
        assert!(!inside("/ab", "/a") && !inside("/a", "/a/b"));
    }
}
