//! How text may look: colour, character set, columns. Meaning is never in the colour alone.

/// What the reader's end can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Colour is wanted.
    pub(crate) color: bool,
    /// Nothing but ASCII.
    pub(crate) ascii: bool,
    /// Columns.
    pub(crate) width: usize,
}

/// What a word says about the state of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it should be.
    Good,
    /// Look at it.
    Odd,
    /// Act on it.
    Bad,
    /// A title.
    Title,
    /// Nothing special.
    Plain,
}

impl Look {
    /// The text in the colour of its tone.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Odd => "33",
            Tone::Bad => "31;1",
            Tone::Title => "1",
            Tone::Plain => return text.to_owned(),
        };
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// The text in the character set of the reader; one column stays one column.
    pub(crate) fn encode(&self, text: &str) -> String {
        if !self.ascii || text.is_ascii() {
            return text.to_owned();
        }
        text.chars().map(|letter| if letter.is_ascii() { letter } else { '?' }).collect()
    }
}
