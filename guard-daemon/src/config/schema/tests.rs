use super::*;

#[test]
fn the_table_is_sound() {
    let mut paths = std::collections::BTreeSet::new();
    for entry in entries() {
        assert!(paths.insert(entry.path.clone()), "{} twice", entry.path);
        let good = |c: char| c.is_ascii_lowercase() || c == '_';
        assert!(entry.key.name.chars().all(good), "{}", entry.path);
        assert!(entry.key.doc.ends_with('.') && entry.key.doc.is_ascii(), "{}", entry.path);
        let table = matches!(entry.key.kind, Kind::Table(_) | Kind::Named { .. } | Kind::List(_));
        assert!(table || !entry.key.example.is_empty(), "{} has no example", entry.path);
        assert!(range_is_sound(&entry.key.kind), "{}", entry.path);
    }
    // DESIGN.md's contract, `schedule` and `agents`.
    assert_eq!(paths.iter().filter(|p| p.matches('.').count() == 0).count(), 9);
}

fn range_is_sound(kind: &Kind) -> bool {
    match kind {
        Kind::Integer { min, max } | Kind::Size { min, max } | Kind::Rate { min, max } => min < max,
        Kind::Number { min, max } | Kind::Percent { min, max } => min < max,
        Kind::Duration { min, max } => min < max && *max <= YEAR,
        _ => true,
    }
}

/// A default is read like any value: out of range, it would be an error in every file.
#[test]
fn defaults_are_right() {
    let text = "[services.a]\nendpoints = [\"a.example\"]\n[bulkheads.a]\n\
                breaker.services.a = {}\nretries = { max = 1, window = \"1s\" }\n\
                token_budget = { tokens = 1, per = \"1s\" }\n[defaults.breaker]\n[[recovery]]\n\
                name = \"a\"\nwhen = {}\nverify = {}\nsteps = [ { thaw = {} } ]\n\
                [retry_policies.a]\nmax_retries = 1\n";
    if let Err(errors) = crate::config::parse("guard.toml", text) {
        panic!("{}", errors.render(false));
    }
}
