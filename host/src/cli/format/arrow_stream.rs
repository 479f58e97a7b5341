//! An Arrow IPC stream: the result as it is, types and all.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;

use super::{Sink, rendering};
use crate::error::Result;

/// One result as an IPC stream.
#[derive(Default)]
pub(super) struct ArrowStream {
    writer: Option<StreamWriter<Vec<u8>>>,
}

impl ArrowStream {
    fn drain(&mut self, out: &mut Vec<u8>) {
        if let Some(writer) = &mut self.writer {
            out.append(writer.get_mut());
        }
    }
}

impl Sink for ArrowStream {
    fn start(&mut self, schema: &SchemaRef, out: &mut Vec<u8>) -> Result<()> {
        self.writer = Some(StreamWriter::try_new(Vec::new(), schema).map_err(rendering)?);
        self.drain(out);
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        self.writer.as_mut().map_or(Ok(()), |writer| writer.write(batch)).map_err(rendering)?;
        self.drain(out);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.writer.as_mut().map_or(Ok(()), StreamWriter::finish).map_err(rendering)?;
        self.drain(out);
        Ok(())
    }
}
