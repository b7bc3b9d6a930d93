#include "runtime/catalog.h"

const catalog_entry_t *catalog_find (const catalog_t *self, uint16_t id)
{
    size_t low = 0;
    size_t high = self->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        uint16_t found = self->entries[middle].kind->id;
        if (found == id)
            return &self->entries[middle];
        if (found < id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
