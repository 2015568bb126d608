//! What keys do: which bulkhead is selected, how rows are sorted, which page is shown.

use std::cmp::Ordering;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::{Model, Row};

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Name,
    Processes,
    Memory,
    Connections,
    Calls,
    Success,
    Latency,
}

impl Sort {
    /// By its key; what has more of it stands above, names and success rates from the lowest.
    pub(super) const ALL: [(char, Self, &'static str); 7] = [
        ('n', Self::Name, "name"),
        ('p', Self::Processes, "processes"),
        ('m', Self::Memory, "memory"),
        ('c', Self::Connections, "connections"),
        ('a', Self::Calls, "calls"),
        ('o', Self::Success, "ok %"),
        ('l', Self::Latency, "p99"),
    ];

    /// In words.
    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, sort, _)| *sort == self).map_or("", |(_, _, name)| name)
    }

    fn compare(self, a: &Row, b: &Row) -> Ordering {
        let more = |value: fn(&Row) -> f64| value(b).total_cmp(&value(a));
        let order = match self {
            Self::Name => Ordering::Equal,
            Self::Processes => b.processes.cmp(&a.processes),
            Self::Memory => b.memory_bytes.cmp(&a.memory_bytes),
            Self::Connections => b.connections.cmp(&a.connections),
            Self::Calls => more(|row| row.calls.per_second.unwrap_or(0.0))
                .then_with(|| b.calls.total.cmp(&a.calls.total)),
            // Without any call there is nothing to see: below those with calls.
            Self::Success => more(|row| -row.calls.success.unwrap_or(2.0)),
            Self::Latency => more(|row| row.calls.p99_seconds.unwrap_or(-1.0)),
        };
        order.then_with(|| a.name.cmp(&b.name))
    }
}

/// What a key asks for besides another look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Draw.
    Draw,
    /// End.
    Quit,
}

/// The state of the screen.
#[derive(Debug)]
pub(super) struct App {
    pub(super) model: Model,
    pub(super) sort: Sort,
    pub(super) reversed: bool,
    /// Name of the selected bulkhead: it stays selected wherever its row goes.
    pub(super) selected: Option<String>,
    pub(super) details: bool,
    pub(super) help: bool,
    pub(super) paused: bool,
    /// Why there is no newer answer; empty if there is.
    pub(super) trouble: String,
    /// First line of the details that is shown.
    pub(super) scroll: u16,
    /// Rows that fit on the page; known once it was drawn.
    pub(super) page: usize,
}

impl Default for App {
    fn default() -> Self {
        Self {
            model: Model::default(),
            sort: Sort::Name,
            reversed: false,
            selected: None,
            details: false,
            help: false,
            paused: false,
            trouble: String::new(),
            scroll: 0,
            page: 10,
        }
    }
}

impl App {
    /// The rows as they stand on the page, and which one is selected.
    pub(super) fn rows(&self) -> (Vec<Row>, Option<usize>) {
        let mut rows = self.model.rows();
        rows.sort_by(|a, b| self.sort.compare(a, b));
        if self.reversed {
            rows.reverse();
        }
        let selected = self.selected.as_ref();
        let at = rows.iter().position(|row| Some(&row.name) == selected);
        let at = at.or_else(|| (!rows.is_empty()).then_some(0));
        (rows, at)
    }

    /// A key was pressed.
    pub(super) fn key(&mut self, key: KeyEvent) -> After {
        if key.kind == KeyEventKind::Release {
            return After::Draw;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            let quits = matches!(key.code, KeyCode::Char('c' | 'd'));
            return if quits { After::Quit } else { After::Draw };
        }
        if self.help {
            self.help = false;
            return After::Draw;
        }
        match key.code {
            KeyCode::Char('q') => return After::Quit,
            KeyCode::Esc if !self.details => return After::Quit,
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left => self.details = false,
            KeyCode::Enter => {
                self.details = !self.details;
                self.scroll = 0;
            }
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = true,
            KeyCode::Char(' ') => self.paused = !self.paused,
            KeyCode::Char('r') => self.reversed = !self.reversed,
            KeyCode::Up | KeyCode::Char('k') => self.go(-1),
            KeyCode::Down | KeyCode::Char('j') => self.go(1),
            KeyCode::PageUp => self.go(-(self.page.max(1) as isize)),
            KeyCode::PageDown => self.go(self.page.max(1) as isize),
            KeyCode::Home | KeyCode::Char('g') => self.go(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.go(isize::MAX),
            KeyCode::Tab => self.next_sort(),
            KeyCode::Char(letter) => {
                if let Some((_, sort, _)) = Sort::ALL.iter().find(|(key, ..)| *key == letter) {
                    self.sort = *sort;
                }
            }
            _ => {}
        }
        After::Draw
    }

    fn next_sort(&mut self) {
        let at = Sort::ALL.iter().position(|(_, sort, _)| *sort == self.sort).unwrap_or(0);
        self.sort = Sort::ALL[(at + 1) % Sort::ALL.len()].1;
    }

    /// Moves the selection; in the details, the text.
    fn go(&mut self, by: isize) {
        if self.details {
            let by = by.clamp(-1000, 1000) as i16;
            self.scroll = self.scroll.saturating_add_signed(by);
            return;
        }
        let (rows, at) = self.rows();
        if let Some(at) = at {
            let to = at.saturating_add_signed(by).min(rows.len() - 1);
            self.selected = Some(rows[to].name.clone());
        }
    }
}
