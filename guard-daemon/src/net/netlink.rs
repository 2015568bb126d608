//! Netlink plumbing shared by the delay queue, the qdisc look-ups and the socket dumps: one socket
//! type, message framing, attributes. It knows no protocol. Parsing never panics and never reads
//! past the bytes that came; what is cut short simply ends the iteration.

use std::io;

use netlink_sys::{Socket, SocketAddr};

/// `NLMSG_ERROR`: an errno, or 0 as acknowledgement.
const NLMSG_ERROR: u16 = 2;
/// `NLMSG_DONE`: end of a dump.
const NLMSG_DONE: u16 = 3;
/// `NLM_F_REQUEST`.
pub(crate) const REQUEST: u16 = 1;
/// `NLM_F_ACK`.
pub(crate) const ACK: u16 = 4;
/// `NLM_F_ROOT | NLM_F_MATCH`.
pub(crate) const DUMP: u16 = 0x300;
/// Length of `struct nlmsghdr`, bytes.
pub(crate) const HEADER_BYTES: usize = 16;
/// Larger than any single datagram of the kernel (a dump's skb is at most 32 KiB).
const RECEIVE_BYTES: usize = 64 * 1024;
/// Where the kernel stores the nesting and byte-order flags of an attribute's type.
const ATTRIBUTE_TYPE_MASK: u16 = 0x3fff;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;

/// A netlink exchange that failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket could not be opened or used.
    #[error("netlink socket for {what}: {action} failed: {source}")]
    Socket {
        /// What it was for.
        what: &'static str,
        /// System call.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused the request.
    #[error("the kernel refused {what}: {source}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The answer was not what the protocol says.
    #[error("the kernel's answer to {what} cannot be read: {detail}")]
    Malformed {
        /// What was asked.
        what: &'static str,
        /// Detail.
        detail: String,
    },
}

impl NetlinkError {
    /// The errno behind it, if there is one.
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::Socket { source, .. } | Self::Refused { source, .. } => source.raw_os_error(),
            Self::Malformed { .. } => None,
        }
    }
}

/// One netlink message.
pub(crate) struct Message<'a> {
    /// `nlmsg_type`.
    pub(crate) kind: u16,
    /// What follows the header.
    pub(crate) payload: &'a [u8],
}

impl Message<'_> {
    /// `Some(errno)` for an error message, `Some(0)` for an acknowledgement or the end of a dump.
    pub(crate) fn errno(&self) -> Option<i32> {
        match self.kind {
            NLMSG_ERROR => Some(u32_at(self.payload, 0).map_or(libc::EBADMSG, |e| -(e as i32))),
            // A dump that failed half-way says so in its last message.
            NLMSG_DONE => Some(u32_at(self.payload, 0).map_or(0, |e| -(e as i32))),
            _ => None,
        }
    }
}

/// The messages of one datagram.
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let length = u32_at(self.0, 0)? as usize;
        if length < HEADER_BYTES || length > self.0.len() {
            return None;
        }
        let kind = u16_at(self.0, 4)?;
        let payload = self.0.get(HEADER_BYTES..length)?;
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some(Message { kind, payload })
    }
}

/// The attributes in a piece of a message: (type, value).
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let length = u16_at(self.0, 0)? as usize;
        let kind = u16_at(self.0, 2)? & ATTRIBUTE_TYPE_MASK;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// A message under construction.
pub(crate) struct Builder(Vec<u8>);

impl Builder {
    /// A message of type `kind`; its length and sequence number are filled in when it is sent.
    pub(crate) fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        Self(bytes)
    }

    /// Appends bytes, padded to 4.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(aligned(self.0.len()), 0);
        self
    }

    /// Appends an attribute.
    pub(crate) fn attribute(self, kind: u16, value: &[u8]) -> Self {
        let mut head = [0; 4];
        head[0..2].copy_from_slice(&((value.len() + 4) as u16).to_ne_bytes());
        head[2..4].copy_from_slice(&kind.to_ne_bytes());
        self.raw(&head).raw(value)
    }

    /// Appends an attribute that holds one other attribute.
    pub(crate) fn nested(self, kind: u16, inner: u16, value: &[u8]) -> Self {
        let inner = Self(Vec::new()).attribute(inner, value).0;
        self.attribute(kind | NESTED, &inner)
    }

    /// The bytes, with length and sequence number.
    pub(crate) fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

/// A netlink socket that talks to the kernel.
pub(crate) struct Connection {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
    what: &'static str,
}

impl Connection {
    /// Opens a socket of this protocol; `what` names it in errors.
    pub(crate) fn open(protocol: isize, what: &'static str) -> Result<Self, NetlinkError> {
        let fail = |action| move |source| NetlinkError::Socket { what, action, source };
        let mut socket = Socket::new(protocol).map_err(fail("socket"))?;
        socket.bind_auto().map_err(fail("bind"))?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(fail("connect"))?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(RECEIVE_BYTES), what })
    }

    /// The socket, for options and polling.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, message: Builder) -> Result<(), NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = message.finish(self.sequence);
        match self.socket.send(&bytes, 0) {
            Ok(_) => Ok(()),
            Err(source) => Err(NetlinkError::Socket { what: self.what, action: "send", source }),
        }
    }

    /// Receives one datagram; `flags` as in recv(2).
    pub(crate) fn receive(&mut self, flags: i32) -> io::Result<&[u8]> {
        self.buffer.clear();
        let length = self.socket.recv(&mut self.buffer, flags | libc::MSG_TRUNC)?;
        if length > self.buffer.len() {
            return Err(io::Error::other(format!(
                "a datagram of {length} bytes did not fit into {RECEIVE_BYTES}"
            )));
        }
        Ok(&self.buffer)
    }

    /// Sends a request and hands every message of the answer to `each`, until the kernel says
    /// that it is complete. `each` returns whether to go on.
    pub(crate) fn request(
        &mut self,
        message: Builder,
        mut each: impl FnMut(&Message<'_>) -> Result<(), NetlinkError>,
    ) -> Result<(), NetlinkError> {
        let what = self.what;
        self.send(message)?;
        loop {
            let datagram = match self.receive(0) {
                Ok(datagram) => datagram,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(NetlinkError::Socket { what, action: "recv", source }),
            };
            for message in Messages(datagram) {
                match message.errno() {
                    Some(0) => return Ok(()),
                    Some(errno) => {
                        let source = io::Error::from_raw_os_error(errno);
                        return Err(NetlinkError::Refused { what, source });
                    }
                    None => each(&message)?,
                }
            }
        }
    }
}

/// Rounds up to netlink's alignment.
const fn aligned(length: usize) -> usize {
    (length + 3) & !3
}

/// The `u16` at `offset`, in host order.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(offset..offset + 2)?.try_into().ok()?))
}

/// The `u32` at `offset`, in host order.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

/// The `u64` at `offset`, in host order.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(offset..offset + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_built_is_parsed() {
        let bytes = Builder::new(20, REQUEST)
            .raw(&[1, 2, 3, 4])
            .attribute(7, b"abcde")
            .nested(9, 1, &5_u32.to_ne_bytes())
            .finish(3);
        let message = Messages(&bytes).next().expect("one message");
        assert_eq!(message.kind, 20);
        assert_eq!(&message.payload[..4], &[1, 2, 3, 4]);
        let attributes: Vec<_> = Attributes(&message.payload[4..]).collect();
        assert_eq!(attributes[0], (7, &b"abcde"[..]));
        assert_eq!(attributes[1].0, 9);
        let inner: Vec<_> = Attributes(attributes[1].1).collect();
        assert_eq!(inner, [(1, &5_u32.to_ne_bytes()[..])]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for message in Messages(&bytes) {
                let _errno = message.errno();
                let total: usize = Attributes(message.payload).map(|(_, v)| v.len()).sum();
                prop_assert!(total <= bytes.len());
            }
            let total: usize = Attributes(&bytes).map(|(_, v)| v.len()).sum();
            prop_assert!(total <= bytes.len());
        }
    }
}
