//! Rows as values of a composite type, in the binary form of PostgreSQL's protocol.
//!
//! A statement takes its rows as one array of them. With an array a column, `unnest` would put every column into a
//! store of its own, row by row, which took a tenth of the server's time.

use std::error::Error;
use std::slice::Iter;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{IsNull, Kind, ToSql, Type};

/// Name and type of a composite type's field.
pub(crate) type Field = (&'static str, Type);

/// Why a value cannot be written, as the driver has it.
pub(crate) type EncodeError = Box<dyn Error + Sync + Send>;

/// Whether `ty` is the composite type of these fields, in this order.
pub(crate) fn is_composite(ty: &Type, fields: &[Field]) -> bool {
    let Kind::Composite(found) = ty.kind() else { return false };
    let found = found.iter().map(|field| (field.name(), field.type_()));
    found.eq(fields.iter().map(|(name, ty)| (*name, ty)))
}

/// One value being written, a field after the other.
pub(crate) struct Composite<'a> {
    fields: Iter<'a, Field>,
    out: &'a mut BytesMut,
}

impl<'a> Composite<'a> {
    /// Begins a value behind what is in `out`.
    pub(crate) fn new(fields: &'a [Field], out: &'a mut BytesMut) -> Self {
        out.put_u32(u32::try_from(fields.len()).unwrap_or(u32::MAX));
        Self { fields: fields.iter(), out }
    }

    /// Writes the next field.
    pub(crate) fn push(&mut self, value: &impl ToSql) -> Result<(), EncodeError> {
        let (_name, ty) = self.fields.next().ok_or("more values than fields")?;
        self.out.put_u32(ty.oid());
        let length_at = self.out.len();
        self.out.put_i32(NULL);
        if let IsNull::No = value.to_sql(ty, self.out)? {
            let start = length_at + size_of_val(&NULL);
            let length = i32::try_from(self.out.len() - start)?;
            self.out[length_at..start].copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }

    /// Ends the value.
    pub(crate) fn end(self) -> Result<IsNull, EncodeError> {
        let [] = self.fields.as_slice() else { return Err("fewer values than fields".into()) };
        Ok(IsNull::No)
    }
}

/// A null's length.
const NULL: i32 = -1;
