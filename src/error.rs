//! The one error type of the crate.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// A `Result` whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a call could not do: the operation, the shapes or sizes it met, and the way out, in words.
///
/// The type is opaque and cheap to clone (an error may be stored in an expression and returned
/// from every call that reads it). Ask [`Error::kind`] to decide by program.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    op: Cow<'static, str>,
    message: String,
    location: Option<&'static Location<'static>>,
    member: Option<usize>,
}

/// The kinds of [`Error`], for programs that react to them.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Shapes that do not fit each other or the operation.
    Shape,
    /// An axis or an index outside the array.
    Index,
    /// An element type that the operation or the device does not have.
    Type,
    /// Operands that live on different devices.
    DeviceMismatch,
    /// A device that does not exist.
    NoDevice,
    /// A size above what the device or the address space can hold.
    TooLarge,
    /// The device has no memory left.
    OutOfMemory,
    /// An argument outside its domain, an empty array where a value is needed.
    Argument,
    /// A `CLAN_*` environment variable that means nothing.
    Config,
    /// A kernel that the device's compiler refused.
    Build,
    /// A failure that the driver reported.
    Driver,
    /// A member of a group that did not finish in time.
    Deadline,
}

impl Error {
    /// An error of operation `op`; `message` says what was met and what would work.
    pub(crate) fn new(
        kind: ErrorKind,
        op: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Error {
        Error(Arc::new(Inner {
            kind,
            op: op.into(),
            message: message.into(),
            location: None,
            member: None,
        }))
    }

    pub(crate) fn shape(op: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Shape, op, message)
    }

    pub(crate) fn index(op: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Index, op, message)
    }

    pub(crate) fn argument(op: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Argument, op, message)
    }

    /// Remembers where the user built the operation; the first place wins.
    pub(crate) fn at(self, location: &'static Location<'static>) -> Error {
        if self.0.location.is_some() {
            return self;
        }
        let mut inner = (*self.0).clone();
        inner.location = Some(location);
        Error(Arc::new(inner))
    }

    /// The same error as one of a group's member.
    pub(crate) fn of_member(self, op: &'static str, member: usize, name: &str) -> Error {
        if self.0.member.is_some() {
            return self;
        }
        let message = match self.0.op == op {
            true => format!("member {member} ({name}): {}", self.0.message),
            false => format!("member {member} ({name}): {}: {}", self.0.op, self.0.message),
        };
        let inner = Inner { op: op.into(), message, member: Some(member), ..(*self.0).clone() };
        Error(Arc::new(inner))
    }

    /// The member of a [`Group`](crate::Group) that failed.
    pub fn member(&self) -> Option<usize> {
        self.0.member
    }

    /// The kind, for programs that react to it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The operation that failed, as in `"add"` or `"sum_axis"`.
    pub fn op(&self) -> &str {
        &self.0.op
    }

    /// True when the device ran out of memory.
    pub fn is_out_of_memory(&self) -> bool {
        self.0.kind == ErrorKind::OutOfMemory
    }

    /// True when shapes did not fit.
    pub fn is_shape(&self) -> bool {
        self.0.kind == ErrorKind::Shape
    }

    /// True when the element type is not to be had on the device.
    pub fn is_unsupported_type(&self) -> bool {
        self.0.kind == ErrorKind::Type
    }

    /// True when a device was asked for that does not exist.
    pub fn is_no_device(&self) -> bool {
        self.0.kind == ErrorKind::NoDevice
    }

    /// True when the driver reported the failure.
    pub fn is_driver(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Driver | ErrorKind::Build)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.op, self.0.message)?;
        if let Some(at) = self.0.location {
            write!(f, " (built at {}:{})", at.file(), at.line())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self})", self.0.kind)
    }
}

impl std::error::Error for Error {}
