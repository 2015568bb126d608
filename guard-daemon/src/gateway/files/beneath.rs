//! Files below one directory, for tower-http: the kernel itself keeps paths and symbolic links inside
//! (`RESOLVE_BENEATH`), whoever may write there. Devices, pipes and sockets are not opened.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tower_http::services::fs::{Backend, File};

type Later<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// The directory, opened anew for each file: it may be replaced as a whole.
#[derive(Clone, Debug)]
pub(super) struct Beneath(Arc<PathBuf>);

impl Beneath {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self(Arc::new(directory))
    }

    /// Opens `path` with these flags.
    fn open_at(&self, path: &Path, flags: OFlags) -> io::Result<std::fs::File> {
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, self.0.as_path(), directory, Mode::empty())?;
        // The directory itself.
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC;
        let opened = rustix::fs::openat2(&directory, path, flags, Mode::empty(), inside);
        opened.map(std::fs::File::from).map_err(hidden)
    }
}

/// A way out of the directory looks like nothing.
fn hidden(error: rustix::io::Errno) -> io::Error {
    match error {
        rustix::io::Errno::XDEV | rustix::io::Errno::LOOP | rustix::io::Errno::INVAL => {
            io::ErrorKind::NotFound.into()
        }
        other => other.into(),
    }
}

/// Neither a file nor a directory is nothing.
fn of_a_kind(metadata: Metadata) -> io::Result<Metadata> {
    if metadata.is_file() || metadata.is_dir() {
        Ok(metadata)
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

impl Backend for Beneath {
    type File = Opened;
    type Metadata = Metadata;
    type OpenFuture = Later<'static, Opened>;
    type MetadataFuture = Later<'static, Metadata>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        let this = self.clone();
        Box::pin(blocking(move || {
            // Looked at before it is opened: opening a device does something.
            of_a_kind(this.open_at(&path, OFlags::PATH)?.metadata()?)?;
            let file = this.open_at(&path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
            of_a_kind(file.metadata()?)?;
            Ok(Opened(tokio::fs::File::from_std(file)))
        }))
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        let this = self.clone();
        Box::pin(blocking(move || of_a_kind(this.open_at(&path, OFlags::PATH)?.metadata()?)))
    }
}

/// One file of it.
#[derive(Debug)]
pub(super) struct Opened(tokio::fs::File);

impl AsyncRead for Opened {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncSeek for Opened {
    fn start_seek(mut self: Pin<&mut Self>, position: io::SeekFrom) -> io::Result<()> {
        Pin::new(&mut self.0).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.0).poll_complete(context)
    }
}

impl File for Opened {
    type Metadata = Metadata;
    type MetadataFuture<'a> = Later<'a, Metadata>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        Box::pin(async move { self.0.metadata().await })
    }
}
