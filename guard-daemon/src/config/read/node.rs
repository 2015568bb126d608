//! The file after reading: a tree of typed values, with defaults filled in and positions kept.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::schema::BESIDE_STEPS;
use crate::config::schema::Key;
use crate::plan::Endpoint;

/// A typed value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Right, but nothing in this version acts on it.
    Checked,
    Duration(Duration),
    Integer(u64),
    Number(f64),
    /// A word, a name or a path, checked.
    Text(String),
    Listen(Option<SocketAddr>),
    Endpoints(Vec<(Range<usize>, Endpoint)>),
    Networks(Vec<IpNet>),
    Flag(bool),
    /// A command, or words of a list.
    Texts(Vec<String>),
    Table(Node),
    Named(Vec<Named>),
    List(Vec<Node>),
}

/// One entry of a `[x.NAME]` table.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) name_span: Range<usize>,
    pub(crate) node: Node,
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) key: &'static Key,
    pub(crate) path: String,
    pub(crate) span: Range<usize>,
    pub(crate) value: Value,
    /// Whether it is in the file; if not, it is the default.
    pub(crate) given: bool,
}

/// A table: those of its keys that are right, and defaults.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub(crate) path: String,
    /// Where it is: its header or its braces.
    pub(crate) span: Range<usize>,
    pub(crate) fields: Vec<Field>,
    /// Keys that are in the file with a wrong value: neither that nor the default holds.
    pub(crate) wrong: Vec<&'static str>,
}

impl Node {
    /// Of a step of a recovery: what it does, beside how.
    pub(crate) fn action(&self) -> Option<&Field> {
        self.fields.iter().find(|f| f.given && !BESIDE_STEPS.contains(&f.key.name))
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.key.name == name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match &self.field(name)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn duration(&self, name: &str) -> Option<Duration> {
        match self.field(name)?.value {
            Value::Duration(duration) => Some(duration),
            _ => None,
        }
    }

    pub(crate) fn integer(&self, name: &str) -> Option<u64> {
        match self.field(name)?.value {
            Value::Integer(integer) => Some(integer),
            _ => None,
        }
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        match self.field(name)?.value {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    /// `false` where it is absent too.
    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.field(name).map(|f| &f.value), Some(Value::Flag(true)))
    }

    pub(crate) fn texts(&self, name: &str) -> &[String] {
        match self.field(name).map(|f| &f.value) {
            Some(Value::Texts(texts)) => texts,
            _ => &[],
        }
    }

    /// The key if it is in the file with a right value.
    pub(crate) fn given(&self, name: &str) -> Option<&Field> {
        self.field(name).filter(|f| f.given)
    }

    /// Whether the key is in the file, be its value right or wrong.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.given(name).is_some() || self.wrong.contains(&name)
    }

    /// `None` for "off" too.
    pub(crate) fn listen(&self, name: &str) -> Option<SocketAddr> {
        match self.field(name)?.value {
            Value::Listen(listen) => listen,
            _ => None,
        }
    }

    pub(crate) fn networks(&self, name: &str) -> &[IpNet] {
        match self.field(name).map(|f| &f.value) {
            Some(Value::Networks(networks)) => networks,
            _ => &[],
        }
    }

    pub(crate) fn endpoints(&self, name: &str) -> &[(Range<usize>, Endpoint)] {
        match self.field(name).map(|f| &f.value) {
            Some(Value::Endpoints(endpoints)) => endpoints,
            _ => &[],
        }
    }

    pub(crate) fn table(&self, name: &str) -> Option<&Self> {
        match &self.field(name)?.value {
            Value::Table(node) => Some(node),
            _ => None,
        }
    }

    pub(crate) fn named(&self, name: &str) -> &[Named] {
        match self.field(name).map(|f| &f.value) {
            Some(Value::Named(named)) => named,
            _ => &[],
        }
    }

    pub(crate) fn list(&self, name: &str) -> &[Self] {
        match self.field(name).map(|f| &f.value) {
            Some(Value::List(list)) => list,
            _ => &[],
        }
    }
}
