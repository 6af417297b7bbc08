//! Who may do what in the database.

use tokio_postgres::Client;

use crate::StoreError;
use crate::schema::Schema;

/// Makes the roles, hands them what is theirs, and grants what is missing.
const ROLES: &str = include_str!("../sql/roles.sql");

/// Brings the roles' rights up to the schema. A user that may not create roles is told, in the log, who can.
///
/// # Errors
///
/// [`StoreError::Postgres`] if the tables are somebody else's.
pub(crate) async fn grant(client: &Client, schema: Schema) -> Result<(), StoreError> {
    client.batch_execute(ROLES).await?;
    report_missing_roles(client, schema).await?;
    report_missing_usage(client, schema).await
}

async fn report_missing_roles(client: &Client, schema: Schema) -> Result<(), StoreError> {
    let missing = "SELECT name FROM unnest(ARRAY['fleet_migrator', 'fleet_consumer', 'fleet_reader']) \
                    WITH ORDINALITY AS role (name, position) \
                    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) ORDER BY position";
    let missing = client.query(missing, &[]).await?;
    if missing.is_empty() {
        return Ok(());
    }
    let create = |name: String| {
        // As in the SQL above, which says why.
        let login = if name == "fleet_migrator" { "LOGIN" } else { "NOLOGIN" };
        format!("CREATE ROLE {name} {login};")
    };
    let create: Vec<_> = missing.iter().map(|row| create(row.get(0))).collect();
    tracing::warn!(
        ?schema,
        "this user may not create roles, and some are missing: have an administrator run `{}` and run `migrate` again; until \
         then only the tables' owner can use them",
        create.join(" ")
    );
    Ok(())
}

async fn report_missing_usage(client: &Client, schema: Schema) -> Result<(), StoreError> {
    let missing = "SELECT format('GRANT USAGE ON SCHEMA %I TO %s;', current_schema(), string_agg(rolname, ', ' ORDER BY rolname)) \
                     FROM pg_roles WHERE rolname IN ('fleet_consumer', 'fleet_reader') \
                      AND NOT has_schema_privilege(oid, current_schema(), 'USAGE') HAVING count(*) > 0";
    if let Some(row) = client.query_opt(missing, &[]).await? {
        let grant: String = row.get(0);
        tracing::warn!(
            ?schema,
            "the tables are in a schema that this user may not grant, and the consumer cannot use it: have its owner run `{grant}`"
        );
    }
    Ok(())
}
