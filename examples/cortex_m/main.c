/* A label for each reading of a sensor. On a real board, `readings` come from the sensor. */

#include <stdio.h>
#include "sensor.h"
#include "readings.h"

static sensor_state state;

static int label_of(const float reading[3]) {
    float scores[SENSOR_OUTPUT];
    int best = 0;
    sensor_step(&sensor_trained, &state, reading, scores);
    for (int k = 1; k < SENSOR_OUTPUT; k++) if (scores[k] > scores[best]) best = k;
    return best;
}

int main(void) {
    int right = 0, before = -1;
    sensor_reset(&sensor_trained, &state);
    for (int t = 0; t < READINGS; t++) {
        const int label = label_of(readings[t]);
        if (label != before) printf("%5.2f s  %s\n", t / 50.0, labels[label]);
        before = label;
        right += label == expected[t];
    }
    printf("%d of %d readings are right\n", right, READINGS);
    return 0;
}
