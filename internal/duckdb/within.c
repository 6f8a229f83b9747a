#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

// Of the engine's C interface; its types are opaque pointers.
uint64_t duckdb_data_chunk_get_size(void *chunk);
void *duckdb_data_chunk_get_vector(void *chunk, uint64_t column);
void *duckdb_vector_get_data(void *vector);
uint64_t *duckdb_vector_get_validity(void *vector);
void duckdb_scalar_function_set_error(void *info, const char *text);

void tw_within_call(void *info, void *chunk, void *out) {
	uint64_t rows = duckdb_data_chunk_get_size(chunk);
	if (rows == 0) {
		return;
	}
	void *works = duckdb_data_chunk_get_vector(chunk, 0);
	const double *work = duckdb_vector_get_data(works);
	const uint64_t *valid = duckdb_vector_get_validity(works); // NULL: all are
	double sum = 0, most = *(const double *)duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 1));
	for (uint64_t i = 0; i < rows; i++) {
		if (valid == NULL || (valid[i / 64] >> (i % 64) & 1)) {
			sum += work[i];
		}
	}
	if (!(sum <= most)) { // NaN is too much
		char text[160];
		snprintf(text, sizeof text, "too much work in one step: %.0f units, %.0f are allowed", sum, most);
		duckdb_scalar_function_set_error(info, text);
		return;
	}
	bool *answers = duckdb_vector_get_data(out);
	for (uint64_t i = 0; i < rows; i++) {
		answers[i] = true;
	}
}
