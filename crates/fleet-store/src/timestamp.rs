//! Times in the binary format of PostgreSQL's protocol.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use fleet_providers::Micros;
use jiff::Timestamp;
use tokio_postgres::types::{IsNull, ToSql, Type, accepts, to_sql_checked};

/// 2000-01-01T00:00:00Z, PostgreSQL's epoch, in microseconds of Unix time.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A `timestamptz`. The driver's own encoding rounds a span for each value, which took an eighth of the consumer's
/// time. These times are already whole microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimestampTz(i64);

impl From<Micros> for TimestampTz {
    fn from(at: Micros) -> Self {
        Self(at.since_1970() - EPOCH_MICROS)
    }
}

impl From<Timestamp> for TimestampTz {
    fn from(at: Timestamp) -> Self {
        Micros::from(at).into()
    }
}

impl ToSql for TimestampTz {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.0);
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_the_driver_writes() {
        for text in [
            "1970-01-01T00:00:00Z",
            "1999-12-31T23:59:59.999999Z",
            "2000-01-01T00:00:00Z",
            "2262-04-11T00:00:01.5Z",
        ] {
            let at: Timestamp = text.parse().unwrap();
            let (mut own, mut drivers) = (BytesMut::new(), BytesMut::new());
            TimestampTz::from(at).to_sql(&Type::TIMESTAMPTZ, &mut own).unwrap();
            at.to_sql(&Type::TIMESTAMPTZ, &mut drivers).unwrap();
            assert_eq!(own, drivers, "{text}");
        }
    }
}
