<?php
/**
 * Plugin Name: recsys for WooCommerce
 * Description: Recommendations from your own recsys server: a block and the shortcode [recsys], orders and products sent as they change, privacy requests passed on.
 * Version: 1.0.0
 * Requires at least: 6.4
 * Requires PHP: 7.4
 * Requires Plugins: woocommerce
 * License: Apache-2.0
 *
 * Put these lines into wp-config.php, with the keys that the commands print on the machine of recsys:
 *
 *   define('RECSYS_PAGE_KEY', '…');        // recsys keys add page --scope page --scope ingest: the first line
 *   define('RECSYS_SIGNING_SECRET', '…');  // the second line of the same
 *   define('RECSYS_SERVER_KEY', '…');      // recsys keys add woocommerce --scope ingest --scope catalogue
 *   define('RECSYS_WEBHOOK_SECRET', '…');  // what serve.webhook_secret is set to in recsys.toml
 *
 * Products go by their SKU, or by their id where they have none; customers by their id, guests by their e-mail address.
 * So do the exports that recsys ingest takes.
 */

defined('ABSPATH') || exit;

defined('RECSYS_URL') || define('RECSYS_URL', '@URL@');

const RECSYS_TRIES = 6;

function recsys_setting(string $name): string
{
    return defined($name) ? (string) constant($name) : '';
}

function recsys_item_id($product): string
{
    return (string) ($product->get_sku() ?: $product->get_id());
}

/** What this visitor agreed to: none, session or full. Asks the WP Consent API, which consent plugins speak. */
function recsys_consent(): string
{
    $agreed = function_exists('wp_has_consent') && wp_has_consent('statistics');
    return (string) apply_filters('recsys_consent', $agreed ? 'full' : 'none');
}

function recsys_session(): string
{
    $session = function_exists('WC') && WC()->session ? (string) WC()->session->get_customer_id() : '';
    return $session === '' ? '' : hash('sha256', 'recsys' . $session);
}

/** Signs the customer who is logged in, for an hour: with it a public page may ask for their list. */
function recsys_token(string $user): string
{
    $until = time() + HOUR_IN_SECONDS;
    return $until . '-' . hash_hmac('sha256', "$until\n$user", recsys_setting('RECSYS_SIGNING_SECRET'));
}

// -- the carousel: block, shortcode, product page and cart

function recsys_carousel($given): string
{
    $given = shortcode_atts(
        ['for' => 'recommend', 'k' => '8', 'title' => '', 'item' => '', 'items' => '', 'category' => ''],
        is_array($given) ? $given : [],
        'recsys'
    );
    if ($given['item'] === '' && in_array($given['for'], ['similar-items', 'bought-together'], true)) {
        $product = function_exists('wc_get_product') ? wc_get_product(get_the_ID()) : null;
        if (!$product) {
            return '';
        }
        $given['item'] = recsys_item_id($product);
    }
    $consent = recsys_consent();
    $attributes = $given + [
        'consent' => $consent,
        'key' => recsys_setting('RECSYS_PAGE_KEY'),
        'currency' => function_exists('get_woocommerce_currency') ? get_woocommerce_currency() : '',
        'session' => $consent === 'none' ? '' : recsys_session(),
    ];
    $user = get_current_user_id();
    if ($user && $consent === 'full' && recsys_setting('RECSYS_SIGNING_SECRET') !== '') {
        $attributes += ['user' => (string) $user, 'token' => recsys_token((string) $user)];
    }
    $html = '<script src="' . esc_url(RECSYS_URL . '/widget.js') . '" defer';
    foreach (array_filter($attributes, 'strlen') as $name => $value) {
        $html .= ' data-' . $name . '="' . esc_attr($value) . '"';
    }
    return $html . '></script>';
}

add_shortcode('recsys', 'recsys_carousel');

add_action('init', function () {
    wp_register_script('recsys-block', '', ['wp-blocks', 'wp-element', 'wp-server-side-render', 'wp-components', 'wp-block-editor'], '1.0.0', true);
    wp_add_inline_script('recsys-block', <<<'JS'
(function (blocks, element, editor, components) {
  var lists = ['recommend', 'similar-items', 'bought-together', 'popular', 'trending', 'new'];
  blocks.registerBlockType('recsys/carousel', {
    title: 'Recommendations',
    icon: 'star-filled',
    category: 'woocommerce',
    edit: function (props) {
      var set = function (name) { return function (value) { var change = {}; change[name] = value; props.setAttributes(change); }; };
      return element.createElement(element.Fragment, null,
        element.createElement(editor.InspectorControls, null,
          element.createElement(components.PanelBody, { title: 'List' },
            element.createElement(components.SelectControl, {
              label: 'Kind', value: props.attributes.for, onChange: set('for'),
              options: lists.map(function (name) { return { label: name, value: name }; })
            }),
            element.createElement(components.TextControl, { label: 'Heading', value: props.attributes.title, onChange: set('title') }))),
        element.createElement('p', { className: 'components-placeholder' }, 'Recommendations: ' + props.attributes.for));
    },
    save: function () { return null; }
  });
})(window.wp.blocks, window.wp.element, window.wp.blockEditor, window.wp.components);
JS);
    register_block_type('recsys/carousel', [
        'api_version' => 2,
        'editor_script' => 'recsys-block',
        'render_callback' => 'recsys_carousel',
        'attributes' => [
            'for' => ['type' => 'string', 'default' => 'recommend'],
            'k' => ['type' => 'string', 'default' => '8'],
            'title' => ['type' => 'string', 'default' => ''],
        ],
    ]);
});

// phpcs:disable WordPress.Security.EscapeOutput -- recsys_carousel escapes all it puts together.
add_action('woocommerce_after_single_product_summary', function () {
    echo recsys_carousel(['for' => 'similar-items']);
}, 15);

add_action('woocommerce_after_cart', function () {
    $ids = [];
    foreach (WC()->cart->get_cart() as $line) {
        $ids[] = recsys_item_id($line['data']);
    }
    if ($ids) {
        echo recsys_carousel(['for' => 'recommend', 'items' => implode(',', $ids)]);
    }
});

/** A product page that was looked at, of visitors who agreed to that. */
add_action('woocommerce_after_single_product', function () {
    $product = wc_get_product(get_the_ID());
    $consent = recsys_consent();
    if (!$product || $consent === 'none' || recsys_session() === '') {
        return;
    }
    $query = ['consent' => $consent];
    $event = ['item_id' => recsys_item_id($product), 'event_type' => 'view', 'session_id' => recsys_session()];
    $user = (string) get_current_user_id();
    if ($user !== '0' && $consent === 'full' && recsys_setting('RECSYS_SIGNING_SECRET') !== '') {
        $event['user_id'] = $user;
        $query['user_token'] = recsys_token($user);
    }
    $call = [
        'method' => 'POST',
        'keepalive' => true,
        'credentials' => 'omit',
        'headers' => ['Content-Type' => 'application/json', 'X-API-Key' => recsys_setting('RECSYS_PAGE_KEY')],
        'body' => wp_json_encode(['events' => [$event]]),
    ];
    $safe = JSON_HEX_TAG | JSON_HEX_AMP;
    wp_print_inline_script_tag(
        'fetch(' . wp_json_encode(RECSYS_URL . '/events?' . http_build_query($query), $safe) . ', '
        . wp_json_encode($call, $safe) . ').catch(function () {});'
    );
});
// phpcs:enable

// -- what is sent: in the background, again when the server does not answer

function recsys_later(string $method, string $path, array $body, int $try = 0): void
{
    if (recsys_setting('RECSYS_SERVER_KEY') === '' || !function_exists('as_schedule_single_action')) {
        return;
    }
    $wait = $try ? 60 * 4 ** $try : 0;
    as_schedule_single_action(time() + $wait, 'recsys_send', [$method, $path, $body, $try], 'recsys');
}

add_action('recsys_send', function ($method, $path, $body, $try) {
    $reply = wp_remote_request(RECSYS_URL . $path, [
        'method' => $method,
        'timeout' => 10,
        'headers' => ['Content-Type' => 'application/json', 'X-API-Key' => recsys_setting('RECSYS_SERVER_KEY')],
        'body' => $body ? wp_json_encode($body) : '',
    ]);
    $status = (int) wp_remote_retrieve_response_code($reply);
    $done = $status >= 200 && $status < 300;
    if ($done || ($method === 'DELETE' && $status === 404)) {
        return;
    }
    $refused = $status >= 400 && $status < 500 && $status !== 429;
    if (!$refused && $try + 1 < RECSYS_TRIES) {
        recsys_later($method, $path, $body, $try + 1);
    } else {
        $why = is_wp_error($reply) ? $reply->get_error_message() : wp_remote_retrieve_body($reply);
        wc_get_logger()->error("$method $path was not taken ($status): $why", ['source' => 'recsys']);
    }
}, 10, 4);

// -- orders

/** The lines of an order as events; their event ids make a line that is sent twice count once. */
function recsys_lines($order, $lines, string $kind, string $mark): array
{
    $user = (string) ($order->get_customer_id() ?: $order->get_billing_email());
    if ($user === '') {
        return [];
    }
    $events = [];
    foreach ($lines as $line) {
        $product = $line->get_product();
        $count = abs((int) $line->get_quantity());
        if (!$product || !$count) {
            continue;
        }
        $when = $kind === 'purchase' ? $order->get_date_created() : null;
        $events[] = [
            'user_id' => $user,
            'item_id' => recsys_item_id($product),
            'event_type' => $kind,
            'qty' => $count,
            'ts' => $when ? $when->getTimestamp() : time(),
            'order_id' => (string) $order->get_order_number(),
            'price' => abs((float) $line->get_total()) / $count,
            'currency' => $order->get_currency(),
            'event_id' => "woo-$mark-" . $line->get_id(),
        ];
    }
    return $events;
}

function recsys_order(int $id): void
{
    $order = wc_get_order($id);
    $events = $order ? recsys_lines($order, $order->get_items(), 'purchase', (string) $id) : [];
    foreach (array_chunk($events, 50) as $some) {
        recsys_later('POST', '/events', ['events' => $some]);
    }
}

add_action('woocommerce_order_status_processing', 'recsys_order');
add_action('woocommerce_order_status_completed', 'recsys_order');
add_action('woocommerce_order_refunded', function ($id, $refund_id) {
    $order = wc_get_order($id);
    $refund = wc_get_order($refund_id);
    $events = $order && $refund ? recsys_lines($order, $refund->get_items(), 'refund', (string) $refund_id) : [];
    foreach (array_chunk($events, 50) as $some) {
        recsys_later('POST', '/events', ['events' => $some]);
    }
}, 10, 2);

// -- products

function recsys_product($product): array
{
    $parent = $product->get_parent_id() ? wc_get_product($product->get_parent_id()) : null;
    $of = $parent ?: $product;
    $terms = get_the_terms($of->get_id(), 'product_cat');
    $image = wp_get_attachment_image_url((int) ($product->get_image_id() ?: $of->get_image_id()), 'woocommerce_thumbnail');
    $item = [
        'title' => wp_strip_all_tags($product->get_name()),
        'description' => wp_strip_all_tags($of->get_short_description() ?: $of->get_description()),
        'category' => is_array($terms) && $terms ? html_entity_decode($terms[0]->name) : null,
        'price' => $product->get_price() === '' ? null : (float) wc_get_price_to_display($product),
        'url' => get_permalink($product->get_id()) ?: null,
        'img_url' => $image ?: null,
        'availability' => $product->is_in_stock() && $product->is_purchasable() && $of->is_visible(),
        'created_at' => $of->get_date_created() ? $of->get_date_created()->getTimestamp() : null,
        'parent_id' => $parent ? recsys_item_id($parent) : null,
    ];
    return array_filter($item, function ($value) {
        return $value !== null;
    });
}

function recsys_changed($id): void
{
    $product = wc_get_product($id);
    if (!$product || $product->get_status() === 'auto-draft') {
        return;
    }
    $path = '/items/' . rawurlencode(recsys_item_id($product));
    if (!in_array($product->get_status(), ['publish', 'private'], true)) {
        recsys_later('DELETE', $path, []);
        return;
    }
    recsys_later('PUT', $path, recsys_product($product));
}

function recsys_gone($id): void
{
    $product = in_array(get_post_type($id), ['product', 'product_variation'], true) ? wc_get_product($id) : null;
    if ($product) {
        recsys_later('DELETE', '/items/' . rawurlencode(recsys_item_id($product)), []);
    }
}

foreach (['new_product', 'update_product', 'new_product_variation', 'update_product_variation'] as $recsys_change) {
    add_action("woocommerce_$recsys_change", 'recsys_changed');
}
add_action('woocommerce_product_set_stock_status', 'recsys_changed');
add_action('woocommerce_variation_set_stock_status', 'recsys_changed');
add_action('wp_trash_post', 'recsys_gone');
add_action('before_delete_post', 'recsys_gone');

// -- privacy: Tools > Export Personal Data and Erase Personal Data ask recsys, too

function recsys_privacy(string $what, string $email): array
{
    $user = get_user_by('email', $email);
    $body = wp_json_encode(['email' => $email] + ($user ? ['user_id' => (string) $user->ID] : []));
    $sign = base64_encode(hash_hmac('sha256', $body, recsys_setting('RECSYS_WEBHOOK_SECRET'), true));
    $reply = wp_remote_post(RECSYS_URL . "/webhooks/wordpress/$what", [
        'timeout' => 20,
        'headers' => ['Content-Type' => 'application/json', 'X-Recsys-Hmac-Sha256' => $sign],
        'body' => $body,
    ]);
    $answer = json_decode(wp_remote_retrieve_body($reply), true);
    if (wp_remote_retrieve_response_code($reply) === 200 && is_array($answer)) {
        return $answer;
    }
    $said = $answer['error']['message'] ?? (is_wp_error($reply) ? $reply->get_error_message() : 'no answer');
    if ($what === 'export') {
        $data = [['name' => 'error', 'value' => "recsys was not asked: $said"]];
        return [
            'data' => [['group_id' => 'recsys', 'group_label' => 'Recommendations', 'item_id' => 'recsys-0', 'data' => $data]],
            'done' => true,
        ];
    }
    return ['items_removed' => false, 'items_retained' => true, 'messages' => ["recsys did not erase: $said"], 'done' => true];
}

add_filter('wp_privacy_personal_data_exporters', function ($exporters) {
    return $exporters + ['recsys' => [
        'exporter_friendly_name' => 'Recommendations (recsys)',
        'callback' => function ($email) {
            return recsys_privacy('export', $email);
        },
    ]];
});

add_filter('wp_privacy_personal_data_erasers', function ($erasers) {
    return $erasers + ['recsys' => [
        'eraser_friendly_name' => 'Recommendations (recsys)',
        'callback' => function ($email) {
            return recsys_privacy('erase', $email);
        },
    ]];
});
