//! Rows as values of a composite type, in the binary form of PostgreSQL's protocol.
//!
//! A statement takes its rows as one array. With one array per column, `unnest` would build a separate tuple store
//! for each column, which took a tenth of the server's time. The derive of `postgres-types` is slower: see
//! ARCHITECTURE.md.

use std::error::Error;
use std::slice::Iter;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{IsNull, Kind, ToSql, Type};

/// Name and type of a field of a composite type.
pub(crate) type Field = (&'static str, Type);

/// The driver's type for encoding errors.
pub(crate) type EncodeError = Box<dyn Error + Sync + Send>;

/// Whether `ty` is a composite type with exactly these fields, in this order.
pub(crate) fn is_composite(ty: &Type, fields: &[Field]) -> bool {
    let Kind::Composite(found) = ty.kind() else { return false };
    let found = found.iter().map(|field| (field.name(), field.type_()));
    found.eq(fields.iter().map(|(name, ty)| (*name, ty)))
}

/// Writes one value, field by field.
pub(crate) struct Composite<'a> {
    fields: Iter<'a, Field>,
    out: &'a mut BytesMut,
}

impl<'a> Composite<'a> {
    /// Begins a value at the end of `out`.
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

/// The length that stands for NULL.
const NULL: i32 = -1;
