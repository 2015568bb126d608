//! "Did you mean": the nearest of some known words. Only near ones: a wrong hint costs more than
//! none.

/// The known word nearest to `word`, if one is near enough to be a slip of the finger.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST_WORD: usize = 64;
    if word.is_empty() || word.len() > LONGEST_WORD {
        return None;
    }
    let lower = word.to_lowercase().replace('-', "_");
    let known: Vec<&str> = known.into_iter().collect();
    // `cpu` for `cpu_max`: short of the end is no slip, but clear if only one word begins so.
    let mut begins = known.iter().filter(|k| lower.len() >= 3 && k.starts_with(&lower));
    if let (Some(only), None) = (begins.next(), begins.next()) {
        return Some(only);
    }
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&lower, &k.to_lowercase().replace('-', "_")), k))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, k)| *distance <= (k.len().max(lower.len()) / 3).clamp(1, 4))
        .map(|(_, k)| k)
}

/// Up to `most` known words by nearness, for a topic that may be far off. Of a path with dots its end
/// may be what is near.
pub(crate) fn several<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
    most: usize,
) -> Vec<&'a str> {
    let mut scored: Vec<(f64, &str)> = known
        .into_iter()
        .map(|k| {
            let end = k.rsplit('.').next().unwrap_or(k);
            (strsim::jaro_winkler(word, k).max(strsim::jaro_winkler(word, end)), k)
        })
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.into_iter().filter(|(score, _)| *score > 0.7).take(most).map(|(_, k)| k).collect()
}
