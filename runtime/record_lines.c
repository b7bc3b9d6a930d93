/*  record_lines - on which line of a YAML document a field stands

    The loader knows the lines of the faults that it finds itself. Checks across
    fields come later, when only the path of a field is left: this finds the line. */
#include "runtime/record.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/*  The next step of a path: a name's length, or 0 and an index ("[2]"). */
static size_t next_step (const char **path, size_t *ret_index)
{
    if (**path == '.')
        (*path)++;
    if (**path == '[') {
        char *end;
        *ret_index = (size_t)strtoul (*path + 1, &end, 10);
        *path = *end == ']' ? end + 1 : "";
        return 0;
    }
    return strcspn (*path, ".[");
}

static yaml_node_t *child (yaml_document_t *document, const yaml_node_t *node, const char *name,
                           size_t size, size_t index, int *line)
{
    if (!size) {
        yaml_node_item_t *items = node->data.sequence.items.start;
        bool there = node->type == YAML_SEQUENCE_NODE &&
                     index < (size_t)(node->data.sequence.items.top - items);
        yaml_node_t *item = there ? yaml_document_get_node (document, items[index]) : NULL;
        *line = item ? (int)item->start_mark.line + 1 : *line;
        return item;
    }
    if (node->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        yaml_node_t *key = yaml_document_get_node (document, pair->key);
        if (!key || key->type != YAML_SCALAR_NODE || key->data.scalar.length != size ||
            memcmp (key->data.scalar.value, name, size) != 0)
            continue;
        *line = (int)key->start_mark.line + 1;
        return yaml_document_get_node (document, pair->value);
    }
    return NULL;
}

static int find_line (yaml_document_t *document, const char *path)
{
    int line = 0;
    yaml_node_t *node = yaml_document_get_root_node (document);
    while (node && *path) {
        size_t index = 0, size = next_step (&path, &index);
        node = child (document, node, path, size, index, &line);
        path += size;
    }
    return line;
}

void record_faults_lines (record_faults_t *faults, const char *text, size_t size)
{
    yaml_parser_t parser;
    yaml_document_t document;
    if (!text || !yaml_parser_initialize (&parser))
        return;
    yaml_parser_set_encoding (&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string (&parser, (const unsigned char *)text, size);
    if (yaml_parser_load (&parser, &document)) {
        for (size_t i = 0; i < faults->count; i++)
            if (!faults->items[i].line)
                faults->items[i].line = find_line (&document, faults->items[i].path);
        yaml_document_delete (&document);
    }
    yaml_parser_delete (&parser);
}
