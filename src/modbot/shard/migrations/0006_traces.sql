-- The span in which an effect was asked for (W3C traceparent), so that what it does joins that trace; NULL when nothing is traced.
ALTER TABLE effects ADD COLUMN trace TEXT;
