//! Which bulkheads lie inside which: by their cgroups. Nothing else decides it.

use std::path::Path;

use super::Plan;

/// Whether the cgroup `inner` lies inside `outer`; none lies inside itself.
pub(crate) fn lies_inside(inner: &Path, outer: &Path) -> bool {
    inner != outer && inner.starts_with(outer)
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
    }
}
