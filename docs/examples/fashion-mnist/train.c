/*  train - data-parallel training of a small network on Fashion-MNIST with Nexus

    Every rank computes the gradient of its slice of each batch; Nexus' aggregators
    average the gradients, update the parameters (SGD with momentum) and hand
    them back: nexus_push_pull. After each epoch every rank tests its slice of the
    test set, and nexus_all_reduce adds up the counts.

    All progress follows from the version of the parameters, the number of steps
    done: which epoch it is, which images come next, the learning rate. So a rank
    that was killed and started again goes on where the group stands.

    The network: 784 pixels - 256 - 128 - 10 classes, ReLU, softmax cross entropy.
*/
#include <nexus.h>

#include <cblas.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

enum {
    TRAIN_IMAGES = 60000,
    TEST_IMAGES = 10000,
    PIXELS = 784,
    HIDDEN1 = 256,
    HIDDEN2 = 128,
    CLASSES = 10,
    /* The parameters lie one behind the other in one flat buffer. */
    W1 = 0,
    B1 = W1 + PIXELS * HIDDEN1,
    W2 = B1 + HIDDEN1,
    B2 = W2 + HIDDEN1 * HIDDEN2,
    W3 = B2 + HIDDEN2,
    B3 = W3 + HIDDEN2 * CLASSES,
    PARAMETERS = B3 + CLASSES,
};

typedef struct {
    const char *data;
    unsigned long epochs;
    unsigned long batch; /* images a rank and step */
    float learning_rate;
} options_t;

static unsigned char train_images[TRAIN_IMAGES][PIXELS], test_images[TEST_IMAGES][PIXELS];
static unsigned char train_labels[TRAIN_IMAGES], test_labels[TEST_IMAGES];

static void fail (const char *what)
{
    fprintf (stderr, "nexus-fashion-mnist: %s\n", what);
    exit (1);
}

static void check (int result, const nexus_error_t *error)
{
    if (result != 0)
        fail (error->text);
}

/*  ---- data: IDX files (big-endian magic and dimensions, then bytes), gzipped ------------- */

static void load (const char *directory, const char *name, unsigned magic, size_t items,
                  size_t item_size, unsigned char *out)
{
    char path[4096], text[4500];
    unsigned char header[16];
    unsigned header_size = magic == 0x803 ? 16 : 8;
    snprintf (path, sizeof (path), "%s/%s", directory, name);
    gzFile file = gzopen (path, "rb");
    if (!file) {
        snprintf (text, sizeof (text),
                  "can't open %s: %s\nThe data are in Debian's package dataset-fashion-mnist: "
                  "apt-get install dataset-fashion-mnist (or name their directory with --data)",
                  path, strerror (errno));
        fail (text);
    }
    size_t size = items * item_size;
    bool good =
        gzread (file, header, header_size) == (int)header_size && header[2] == magic >> 8 &&
        header[3] == (magic & 255) &&
        (size_t)((header[4] << 24) | (header[5] << 16) | (header[6] << 8) | header[7]) == items &&
        gzread (file, out, (unsigned)size) == (int)size;
    gzclose (file);
    if (!good) {
        snprintf (text, sizeof (text), "%s is not the file of %zu images that it should be", path,
                  items);
        fail (text);
    }
}

static void load_all (const char *directory)
{
    load (directory, "train-images-idx3-ubyte.gz", 0x803, TRAIN_IMAGES, PIXELS, train_images[0]);
    load (directory, "train-labels-idx1-ubyte.gz", 0x801, TRAIN_IMAGES, 1, train_labels);
    load (directory, "t10k-images-idx3-ubyte.gz", 0x803, TEST_IMAGES, PIXELS, test_images[0]);
    load (directory, "t10k-labels-idx1-ubyte.gz", 0x801, TEST_IMAGES, 1, test_labels);
}

/*  ---- random numbers that all ranks agree on ----------------------------------------------- */

static uint64_t next_random (uint64_t *state)
{
    uint64_t z = (*state += UINT64_C (0x9e3779b97f4a7c15)); /* SplitMix64 */
    z = (z ^ (z >> 30)) * UINT64_C (0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C (0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static double next_uniform (uint64_t *state)
{
    return ((double)(next_random (state) >> 11) + 0.5) / 9007199254740992.0;
}

/*  He initialisation: a normal distribution of variance 2 / inputs. */
static void initialise (float *weights, size_t inputs, size_t outputs, uint64_t *random)
{
    for (size_t i = 0; i < inputs * outputs; i++) {
        double radius = sqrt (-2.0 * log (next_uniform (random)) * 2.0 / (double)inputs);
        weights[i] = (float)(radius * cos (6.283185307179586 * next_uniform (random)));
    }
}

/*  The order in which an epoch visits the images. */
static void shuffle (unsigned *order, uint64_t epoch)
{
    uint64_t random = 1000 + epoch;
    for (unsigned i = 0; i < TRAIN_IMAGES; i++)
        order[i] = i;
    for (unsigned i = TRAIN_IMAGES - 1; i > 0; i--) {
        unsigned k = (unsigned)(next_random (&random) % (i + 1));
        unsigned swap = order[i];
        order[i] = order[k];
        order[k] = swap;
    }
}

/*  ---- the network ------------------------------------------------------------------------------
 */

/*  Activations and their gradients for a batch of images. */
typedef struct {
    size_t batch;
    float *input, *hidden1, *hidden2, *output;
    float *hidden1_gradient, *hidden2_gradient;
} network_t;

static float *floats (size_t count)
{
    float *memory = calloc (count, sizeof (float));
    if (!memory)
        fail ("out of memory");
    return memory;
}

static network_t network_new (size_t batch)
{
    return (network_t){.batch = batch,
                       .input = floats (batch * PIXELS),
                       .hidden1 = floats (batch * HIDDEN1),
                       .hidden2 = floats (batch * HIDDEN2),
                       .output = floats (batch * CLASSES),
                       .hidden1_gradient = floats (batch * HIDDEN1),
                       .hidden2_gradient = floats (batch * HIDDEN2)};
}

static void network_free (network_t *net)
{
    free (net->input);
    free (net->hidden1);
    free (net->hidden2);
    free (net->output);
    free (net->hidden1_gradient);
    free (net->hidden2_gradient);
}

/*  Pixels with mean 0 and deviation 1 over the training set. */
static void set_input (network_t *net, size_t row, const unsigned char image[PIXELS])
{
    for (int i = 0; i < PIXELS; i++)
        net->input[row * PIXELS + (size_t)i] = ((float)image[i] / 255.0f - 0.2860f) / 0.3530f;
}

/*  out = in * weights + bias */
static void layer (const float *in, const float *weights, const float *bias, float *out,
                   size_t rows, size_t inputs, size_t outputs)
{
    for (size_t row = 0; row < rows; row++)
        memcpy (out + row * outputs, bias, outputs * sizeof (float));
    cblas_sgemm (CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)outputs, (int)inputs, 1,
                 in, (int)inputs, weights, (int)outputs, 1, out, (int)outputs);
}

static void relu (float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        x[i] = x[i] > 0 ? x[i] : 0;
}

static void forward (network_t *net, const float *parameters, size_t rows)
{
    layer (net->input, parameters + W1, parameters + B1, net->hidden1, rows, PIXELS, HIDDEN1);
    relu (net->hidden1, rows * HIDDEN1);
    layer (net->hidden1, parameters + W2, parameters + B2, net->hidden2, rows, HIDDEN1, HIDDEN2);
    relu (net->hidden2, rows * HIDDEN2);
    layer (net->hidden2, parameters + W3, parameters + B3, net->output, rows, HIDDEN2, CLASSES);
}

/*  The gradients of a layer's weights and bias, and, if wanted, of its input through ReLU. */
static void layer_backward (const float *in, const float *weights, const float *out_gradient,
                            float *weights_gradient, float *bias_gradient, float *in_gradient,
                            size_t rows, size_t inputs, size_t outputs)
{
    cblas_sgemm (CblasRowMajor, CblasTrans, CblasNoTrans, (int)inputs, (int)outputs, (int)rows, 1,
                 in, (int)inputs, out_gradient, (int)outputs, 0, weights_gradient, (int)outputs);
    memset (bias_gradient, 0, outputs * sizeof (float));
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0; i < outputs; i++)
            bias_gradient[i] += out_gradient[row * outputs + i];
    if (!in_gradient)
        return;
    cblas_sgemm (CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)inputs, (int)outputs, 1,
                 out_gradient, (int)outputs, weights, (int)outputs, 0, in_gradient, (int)inputs);
    for (size_t i = 0; i < rows * inputs; i++)
        if (in[i] <= 0)
            in_gradient[i] = 0;
}

/*  The outputs become the gradient of the mean loss; returns the sum of the losses. */
static double softmax_loss (network_t *net, const unsigned char *labels)
{
    double loss = 0;
    for (size_t row = 0; row < net->batch; row++) {
        float *output = net->output + row * CLASSES;
        float largest = output[0], sum = 0;
        for (int i = 1; i < CLASSES; i++)
            largest = output[i] > largest ? output[i] : largest;
        for (int i = 0; i < CLASSES; i++)
            sum += output[i] = expf (output[i] - largest);
        loss -= log ((double)output[labels[row]] / (double)sum + 1e-30);
        for (int i = 0; i < CLASSES; i++)
            output[i] = (output[i] / sum - (i == labels[row] ? 1.0f : 0.0f)) / (float)net->batch;
    }
    return loss;
}

/*  The gradient of the mean loss over the batch; returns the sum of the losses. */
static double gradient_of (network_t *net, const float *parameters, const unsigned char *labels,
                           float *gradient)
{
    forward (net, parameters, net->batch);
    double loss = softmax_loss (net, labels);
    layer_backward (net->hidden2, parameters + W3, net->output, gradient + W3, gradient + B3,
                    net->hidden2_gradient, net->batch, HIDDEN2, CLASSES);
    layer_backward (net->hidden1, parameters + W2, net->hidden2_gradient, gradient + W2,
                    gradient + B2, net->hidden1_gradient, net->batch, HIDDEN1, HIDDEN2);
    layer_backward (net->input, parameters + W1, net->hidden1_gradient, gradient + W1,
                    gradient + B1, NULL, net->batch, PIXELS, HIDDEN1);
    return loss;
}

/*  How many of the test images first, first + stride, ... are recognised. */
static unsigned count_correct (network_t *net, const float *parameters, unsigned first,
                               unsigned stride)
{
    unsigned correct = 0;
    for (unsigned image = first; image < TEST_IMAGES;) {
        unsigned char labels[1024];
        size_t rows = 0;
        for (; rows < net->batch && rows < sizeof (labels) && image < TEST_IMAGES; rows++) {
            set_input (net, rows, test_images[image]);
            labels[rows] = test_labels[image];
            image += stride;
        }
        forward (net, parameters, rows);
        for (size_t row = 0; row < rows; row++) {
            const float *output = net->output + row * CLASSES;
            int best = 0;
            for (int i = 1; i < CLASSES; i++)
                best = output[i] > output[best] ? i : best;
            correct += best == labels[row];
        }
    }
    return correct;
}

/*  ---- training
 * ------------------------------------------------------------------------------------ */

typedef struct {
    const options_t *options;
    nexus_group_t *group;
    network_t net;
    float *parameters, *gradient;
    unsigned order[TRAIN_IMAGES];
    unsigned char *labels;
    uint64_t steps_per_epoch;
    /* Of this epoch so far, in this process. */
    double loss;
    uint64_t images;
    double began;
} trainer_t;

static double seconds (void)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/*  Rises over the first half epoch, then falls along a cosine. */
static float learning_rate (const trainer_t *self, uint64_t step)
{
    uint64_t rise = self->steps_per_epoch / 2 + 1;
    uint64_t total = self->steps_per_epoch * self->options->epochs;
    if (step < rise)
        return self->options->learning_rate * (float)(step + 1) / (float)rise;
    double done = (double)(step - rise) / (double)(total - rise);
    return self->options->learning_rate * (float)(0.5 + 0.5 * cos (3.141592653589793 * done));
}

/*  Tests this rank's share, adds up what all ranks have, reports it. */
static void end_epoch (trainer_t *self, uint64_t epoch)
{
    nexus_error_t error;
    nexus_group_t *group = self->group;
    unsigned rank = (unsigned)nexus_rank (group), world = (unsigned)nexus_world_size (group);
    double elapsed = seconds () - self->began;
    float sums[3] = {(float)count_correct (&self->net, self->parameters, rank, world),
                     (float)self->loss, (float)self->images};
    check (nexus_all_reduce (group, epoch, NEXUS_SUM, sums, 3, &error), &error);
    double accuracy = (double)sums[0] / TEST_IMAGES;
    if (rank == 0) {
        double rate = elapsed > 0 ? (double)self->images * world / elapsed : 0;
        nexus_report (group, "epoch", epoch, (double)epoch, NULL);
        nexus_report (group, "test_accuracy", epoch, accuracy, NULL);
        if (sums[2] > 0) { /* a rank that has just come back has nothing to say */
            nexus_report (group, "loss", epoch, (double)(sums[1] / sums[2]), NULL);
            nexus_report (group, "images_per_second", epoch, rate, NULL);
        }
        printf ("epoch %llu/%lu  loss %.4f  test accuracy %.2f %%  %.0f images/s\n",
                (unsigned long long)epoch, self->options->epochs,
                sums[2] > 0 ? (double)(sums[1] / sums[2]) : 0.0, 100 * accuracy, rate);
        fflush (stdout);
        if (nexus_checkpoint_save (group, epoch, self->parameters, PARAMETERS * sizeof (float),
                                   &error) != 0)
            fprintf (stderr, "no checkpoint: %s\n", error.text);
    }
    self->loss = 0;
    self->images = 0;
}

static void train_step (trainer_t *self, uint64_t step)
{
    nexus_error_t error;
    size_t batch = self->options->batch;
    uint64_t at = step % self->steps_per_epoch;
    size_t first =
        ((size_t)at * (size_t)nexus_world_size (self->group) + (size_t)nexus_rank (self->group)) *
        batch;
    if (at == 0 || self->images == 0) {
        shuffle (self->order, step / self->steps_per_epoch);
        self->began = seconds ();
    }
    for (size_t row = 0; row < batch; row++) {
        unsigned image = self->order[first + row];
        set_input (&self->net, row, train_images[image]);
        self->labels[row] = train_labels[image];
    }
    self->loss += gradient_of (&self->net, self->parameters, self->labels, self->gradient);
    self->images += batch;
    nexus_update_t update = {
        .learning_rate = learning_rate (self, step), .momentum = 0.9f, .weight_decay = 1e-4f};
    check (nexus_push_pull (self->group, self->gradient, self->parameters, PARAMETERS, &update,
                            &error),
           &error);
}

static void train (trainer_t *self)
{
    nexus_error_t error;
    uint64_t random = 7, step;
    initialise (self->parameters + W1, PIXELS, HIDDEN1, &random);
    initialise (self->parameters + W2, HIDDEN1, HIDDEN2, &random);
    initialise (self->parameters + W3, HIDDEN2, CLASSES, &random);
    check (nexus_parameters (self->group, self->parameters, PARAMETERS, &step, &error), &error);
    if (nexus_attempt (self->group) > 0)
        printf ("rank %d, attempt %d: goes on at step %llu\n", nexus_rank (self->group),
                nexus_attempt (self->group), (unsigned long long)step);
    for (;; step++) {
        if (step > 0 && step % self->steps_per_epoch == 0)
            end_epoch (self, step / self->steps_per_epoch);
        if (step >= self->steps_per_epoch * self->options->epochs)
            return;
        if (nexus_stopping (self->group)) {
            printf ("rank %d: asked to stop at step %llu\n", nexus_rank (self->group),
                    (unsigned long long)step);
            return;
        }
        train_step (self, step);
    }
}

/*  ---- the command line
 * -------------------------------------------------------------------------------- */

static void usage (FILE *out)
{
    fprintf (out, "usage: nexus-fashion-mnist [--data DIR] [--epochs N] [--batch N] "
                  "[--learning-rate X]\n"
                  "Runs as a rank of a Nexus job: nexus job submit docs/examples/fashion-mnist/"
                  "job.yaml\n");
}

static unsigned long read_number (const char *name, const char *text, unsigned long max)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul (text, &end, 10);
    if (errno || *end || end == text || value < 1 || value > max) {
        fprintf (stderr, "nexus-fashion-mnist: %s: expected a number from 1 to %lu, found \"%s\"\n",
                 name, max, text);
        exit (2);
    }
    return value;
}

static options_t read_options (int argc, char **argv)
{
    options_t options = {"/usr/share/datasets/fashion-mnist", 10, 128, 0.1f};
    for (int i = 1; i < argc; i += 2) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp (name, "--help") == 0) {
            usage (stdout);
            exit (0);
        }
        if (value && strcmp (name, "--data") == 0)
            options.data = value;
        else if (value && strcmp (name, "--epochs") == 0)
            options.epochs = read_number (name, value, 10000);
        else if (value && strcmp (name, "--batch") == 0)
            options.batch = read_number (name, value, 1024);
        else if (value && strcmp (name, "--learning-rate") == 0)
            options.learning_rate = strtof (value, NULL);
        else {
            fprintf (stderr, "nexus-fashion-mnist: what is \"%s\"?\n", name);
            usage (stderr);
            exit (2);
        }
    }
    if (!(options.learning_rate > 0 && options.learning_rate <= 10))
        fail ("--learning-rate: expected a number above 0, at most 10");
    return options;
}

int main (int argc, char **argv)
{
    static trainer_t trainer;
    options_t options = read_options (argc, argv);
    nexus_error_t error;
    openblas_set_num_threads (1); /* the ranks share the machine */
    load_all (options.data);
    trainer.options = &options;
    trainer.group = nexus_join (&error);
    if (!trainer.group)
        fail (error.text);
    trainer.steps_per_epoch =
        TRAIN_IMAGES / (options.batch * (unsigned long)nexus_world_size (trainer.group));
    if (trainer.steps_per_epoch == 0)
        fail ("more ranks and larger batches than there are images");
    trainer.net = network_new (options.batch);
    trainer.parameters = floats (PARAMETERS);
    trainer.gradient = floats (PARAMETERS);
    trainer.labels = calloc (options.batch, 1);
    if (!trainer.labels)
        fail ("out of memory");
    train (&trainer);
    nexus_leave (&trainer.group);
    network_free (&trainer.net);
    free (trainer.parameters);
    free (trainer.gradient);
    free (trainer.labels);
    return 0;
}
