//! Functions about secrets. None of them gives a value: a statement's result, its plan and its log would hold it.

use crate::code;
use crate::extension::Secrets;
use crate::shown;
use crate::vault;
use kodiak_plugin_api::prelude::*;

/// Registers every function.
pub fn register(registrar: &mut Registrar<Secrets>) {
    let which = Signature::<(Text, Nullable<Text>), Text>::stable();
    registrar.scalar_with("which_secret", which, |_, call, (path, kind)| vault::which(call, path, kind));
    let which = Signature::<(Text,), Text>::stable();
    registrar.scalar_with("which_secret", which, |_, call, (path,)| vault::which(call, path, None));
    let value = Signature::<(Text,), Text>::volatile();
    registrar.scalar("secret", value, |(_,)| -> Result<String> {
        let error = code::ROUTINE.error("`secret` gives a value to routines only, never to a statement");
        Err(error.help("kodiak secrets get NAME --reveal, or kodiak secrets exec -- COMMAND"))
    });
    registrar.table("list_secrets", bind_list);
}

fn bind_list(_: &Secrets, _: &Call, arguments: &TableArguments) -> Result<Table> {
    if !arguments.is_empty() {
        let error = Error::new("KDK-0103", format!("`list_secrets` takes no arguments, not {}", arguments.len()));
        return Err(error.sqlstate("42883"));
    }
    Ok(Table::new(shown::table_schema(), |call, _| {
        let batch = shown::table(&vault::heads(call)?)?;
        Ok(batches(batch.schema(), vec![batch]))
    }))
}
